"""Label Studio's documented JSON: tasks with predictions out, annotations in."""

import json
import urllib.parse
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from skmer.label_refinement import LabelRefiner, import_label_studio, write_decisions


@pytest.fixture
def refined(tmp_path):
    rng = np.random.default_rng(0)
    y = np.array(["<sad>", "s&y"])[np.arange(40) % 2]
    folder = tmp_path / "clips"
    X = pd.DataFrame(
        rng.normal(size=(40, 4)) + 4 * (y == "s&y")[:, None],
        index=[str(folder / f"ä {i}, x.mp4") for i in range(40)],
        columns=["audio__0", "audio__1", "text__0", "text__1"],
    )
    y[[3, 8]] = ["<sad>", "s&y"]
    refiner = LabelRefiner(random_state=0)
    refiner.fit_resample(X, y)
    assert set(X.index[[3, 8]]) == set(refiner.flagged_[refiner.flagged_].index)
    return refiner, X, tmp_path


def _annotation(*labels, name="emotion", **more):
    result = {
        "id": "r",
        "from_name": name,
        "to_name": "video",
        "type": "choices",
        "value": {"choices": list(labels)},
    }
    return {"id": 1, "result": [result], "was_cancelled": False} | more


def test_tasks_have_what_label_studio_requires(refined):
    refiner, X, folder = refined
    refiner.export_label_studio(folder / "tasks.json", root=folder)
    tasks = json.loads((folder / "tasks.json").read_text())
    view = ElementTree.parse(folder / "tasks.xml").getroot()
    assert len(tasks) == 2 and view.tag == "View"
    choices = view.find("Choices")
    # Every $name of the configuration is a field of every task
    used = {v[1:] for e in view for v in e.attrib.values() if v.startswith("$")}
    offered = [choice.get("value") for choice in choices]
    assert offered == ["<sad>", "s&y", "leave out"]
    objects = {e.get("name") for e in view if e.tag in ("Video", "Audio", "Text")}
    assert choices.get("toName") in objects
    ids = []
    for task in tasks:
        assert used <= set(task["data"])
        (prediction,) = task["predictions"]
        assert isinstance(prediction["model_version"], str)
        assert 0 <= prediction["score"] <= 1
        (result,) = prediction["result"]
        assert result["from_name"] == choices.get("name")
        assert result["to_name"] == choices.get("toName")
        assert result["type"] == "choices"
        (label,) = result["value"]["choices"]
        assert label in offered
        assert label == refiner.probabilities_.loc[task["data"]["clip"]].idxmax()
        ids.append(result["id"])
        address = urllib.parse.urlsplit(task["data"]["video"])
        assert address.path == "/data/local-files/"
        below = urllib.parse.parse_qs(address.query)["d"][0]
        assert str(folder / below) == task["data"]["clip"]
    assert len(set(ids)) == len(ids)


def test_media_and_choice_of_clips(refined):
    refiner, X, folder = refined
    clips = pd.DataFrame(
        {"audio": "https://x.org/a.wav", "text": None, "other": 1}, index=X.index
    )
    refiner.export_label_studio(folder / "t.json", clips, which="all", name="mood")
    tasks = json.loads((folder / "t.json").read_text())
    assert len(tasks) == 40
    assert tasks[0]["data"]["text"] == ""
    assert tasks[0]["data"]["audio"] == "https://x.org/a.wav"
    assert tasks[0]["predictions"][0]["result"][0]["to_name"] == "audio"
    view = ElementTree.parse(folder / "t.xml").getroot()
    assert [e.tag for e in view] == ["Audio", "Text", "Header", "Choices"]
    with pytest.raises(ValueError, match="no row for clip"):
        refiner.export_label_studio(folder / "t.json", clips.iloc[20:])
    with pytest.raises(ValueError, match="column 'video', 'audio' or 'text'"):
        refiner.export_label_studio(folder / "t.json", clips[["other"]])
    with pytest.raises(ValueError, match="is not below"):
        refiner.export_label_studio(folder / "t.json", root=folder / "elsewhere")
    with pytest.raises(ValueError, match="which must be"):
        refiner.export_label_studio(folder / "t.json", which="some")


def test_there_and_back(refined):
    refiner, X, folder = refined
    refiner.export_label_studio(folder / "tasks.json")
    tasks = json.loads((folder / "tasks.json").read_text())
    tasks[0]["annotations"] = [_annotation("drop")]
    tasks[1]["annotations"] = [_annotation("<sad>")]
    (folder / "done.json").write_text(json.dumps(tasks))
    decisions = import_label_studio(folder / "done.json")
    clips = [task["data"]["clip"] for task in tasks]
    assert decisions.to_dict() == dict(zip(clips, ["drop", "<sad>"], strict=True))
    write_decisions(folder / "decisions.csv", decisions)
    y = refiner.annotations_.to_numpy(dtype=str)
    again = LabelRefiner(decisions=folder / "decisions.csv", random_state=0)
    X_new, y_new = again.fit_resample(X, y)
    assert clips[0] not in X_new.index
    assert y_new[X_new.index.get_loc(clips[1])] == "<sad>"


def test_clips_are_paths_or_rows(refined):
    refiner, X, folder = refined
    ids = X.index
    paths = [f"https://x.org/{i}.mp4" for i in range(40)]
    shown = {}
    by_id = pd.Series(paths, index=ids)[::-1]
    for name, clips in {
        "list": paths,
        "array": np.array(paths),
        "rows": pd.Series(paths),
        "ids": by_id,
    }.items():
        refiner.export_label_studio(folder / "t.json", clips)
        tasks = json.loads((folder / "t.json").read_text())
        shown[name] = {task["data"]["clip"]: task["data"]["video"] for task in tasks}
        assert shown[name] == {ids[i]: paths[i] for i in (3, 8)}, name
    with pytest.raises(ValueError, match="clips has 5 rows and X had 40"):
        refiner.export_label_studio(folder / "t.json", paths[:5])
    with pytest.raises(TypeError, match="a list of paths. Got str"):
        refiner.export_label_studio(folder / "t.json", "clips.csv")


@pytest.mark.parametrize("frame", [False, True])
def test_clips_without_ids_lead_somewhere(refined, frame):
    refiner, X, folder = refined
    y = refiner.annotations_.to_numpy(dtype=str)
    rows = X.reset_index(drop=True) if frame else X.to_numpy()
    numbered = LabelRefiner(random_state=0, streams={"a": slice(0, 2)}).fit(rows, y)
    with pytest.raises(ValueError, match="such as 0 are no paths.*Pass clips="):
        numbered.export_label_studio(folder / "t.json", which="all")
    paths = [str(path) for path in X.index]
    media = pd.DataFrame({"video": paths})
    media.index = media.index if frame else paths
    for clips in (paths, media, pd.Series(paths)):
        numbered.export_label_studio(folder / "t.json", clips, which="all")
        tasks = json.loads((folder / "t.json").read_text())
        assert len(tasks) == 40
        for task in tasks:
            clip, video = task["data"]["clip"], task["data"]["video"]
            assert video == (paths[clip] if frame else clip)
    with pytest.raises(ValueError, match="clips has 5 rows|has no row for clip"):
        numbered.export_label_studio(folder / "t.json", media[:5], which="all")


def test_a_choice_that_is_not_in_the_file(tmp_path):
    path = _export(tmp_path / "done.json", ("a", [_annotation("sad")]), ("b", []))
    with pytest.raises(ValueError, match="no choice named 'emo': it has 'emotion'"):
        import_label_studio(path, name="emo")
    # Nobody has answered anything yet
    path = _export(tmp_path / "done.json", ("a", []), ("b", []))
    assert import_label_studio(path, name="emo").empty


def _export(path, *tasks):
    path.write_text(
        json.dumps(
            [
                {"id": i, "data": {"clip": clip}, "annotations": list(annotations)}
                for i, (clip, annotations) in enumerate(tasks)
            ]
        )
    )
    return path


def test_what_decides_nothing(tmp_path):
    path = _export(
        tmp_path / "done.json",
        ("a", [_annotation("sad", was_cancelled=True)]),
        ("b", []),
        ("c", [{"id": 1, "result": []}]),
        ("d", [_annotation("sad", name="other")]),
        ("e", [_annotation("sad"), _annotation("happy", was_cancelled=True)]),
    )
    tasks = json.loads(path.read_text())
    tasks[1]["predictions"] = [_annotation("sad")]
    path.write_text(json.dumps(tasks))
    assert import_label_studio(path).to_dict() == {"e": "sad"}


def test_annotators_who_disagree(tmp_path):
    path = _export(
        tmp_path / "done.json",
        ("a", [_annotation("sad"), _annotation("happy"), _annotation("sad")]),
        ("b", [_annotation("sad"), _annotation("happy")]),
        ("c", [_annotation("sad"), _annotation("happy", ground_truth=True)]),
        ("d", [_annotation("sad")]),
        ("d", [_annotation("sad")]),
    )
    with pytest.raises(ValueError, match="2 clips, about 'a' for example: 'happy', 's"):
        import_label_studio(path)
    settled = {"c": "happy", "d": "sad"}
    assert import_label_studio(path, disagreement="skip").to_dict() == settled
    by_most = import_label_studio(path, disagreement="majority").to_dict()
    assert by_most == {"a": "sad"} | settled
    with pytest.raises(ValueError, match="disagreement must be"):
        import_label_studio(path, disagreement="first")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,decision\n", "is no JSON"),
        ('{"a": 1}', "must hold a list of tasks"),
        ('[{"clip": "a", "emotion": "sad"}]', "JSON-MIN"),
        ('[{"id": 7, "data": {}, "annotations": []}]', "task 7 has no data field"),
    ],
)
def test_other_files(tmp_path, text, message):
    path = tmp_path / "done.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        import_label_studio(path)


def test_two_labels_at_once(tmp_path):
    path = _export(tmp_path / "done.json", ("a", [_annotation("sad", "happy")]))
    with pytest.raises(ValueError, match="chooses 'sad', 'happy'"):
        import_label_studio(path)


def test_every_choice_of_clips_has_its_tasks(refined):
    refiner, X, folder = refined
    for which, table in (
        ("flagged", refiner.flagged_),
        ("changed", refiner.changed_),
        ("report", refiner.flagged_ | refiner.changed_ | refiner.decided_),
        ("all", refiner.annotations_.notna()),
    ):
        refiner.export_label_studio(folder / "tasks.json", which=which, root=folder)
        tasks = json.loads((folder / "tasks.json").read_text())
        assert {task["data"]["clip"] for task in tasks} == set(table.index[table])
    assert not {"best", "votes"} & set(refiner.report().columns)
