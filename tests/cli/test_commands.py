"""extract, fit, predict and refine do what they say, on real clips."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from few_epochs import shorten

from skmer.cli._ablation import TABLES
from skmer.encoders import AcousticEncoder, PrecomputedEncoder
from skmer.evaluation import EvaluationReport
from skmer.evaluation._ladders import LADDERS
from skmer.model_selection import ReferenceFolds

FIT = ["--set=fuse__max_epochs=2", "--streams=audio,text"]


@pytest.fixture
def broken(newcomer):
    """A table with a file that is no clip, in row 3."""
    (newcomer.folder / "broken.mp4").write_text("no clip")
    newcomer.frame.loc[1, "path"] = "broken.mp4"
    return newcomer.table("broken.csv")


def _rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_extracts_what_encoders_give(skmer, newcomer):
    table = newcomer.table()
    code, out, _ = skmer("extract", table, "-o", "f.npz", "--streams", "audio,text")
    assert code == 0 and out.startswith("f.npz: 20 clips, ")
    assert skmer("extract", table, "-o", "f.csv", "--streams", "audio,text")[0] == 0
    assert skmer("extract", table, "-o", "folder", "--streams", "audio")[0] == 0
    frame = pd.read_csv("f.csv", index_col="clip")
    with np.load("f.npz", allow_pickle=False) as file:
        assert file["clips"].tolist() == frame.index.tolist()
        assert file["names"].tolist() == frame.columns.tolist()
        np.testing.assert_array_equal(file["features"], frame.astype(np.float32))
    paths = [str(newcomer.folder / clip) for clip in frame.index]
    encoder = AcousticEncoder(on_error="nan").set_output(transform="pandas")
    expected = encoder.transform(paths)
    np.testing.assert_array_equal(
        frame.filter(regex="^audio__").to_numpy(np.float32), expected
    )
    again = PrecomputedEncoder("folder/audio-UTT", on_error="nan")
    there = expected.notna().any(axis=1).to_numpy()
    np.testing.assert_array_equal(
        again.transform(np.array(paths)[there]), expected[there]
    )


def test_extracts_parquet(skmer, newcomer):
    pytest.importorskip("pyarrow")
    table = newcomer.table()
    assert skmer("extract", table, "-o", "new/f.parquet", "--streams=audio")[0] == 0
    assert skmer("extract", table, "-o", "f.csv", "--streams=audio")[0] == 0
    frame = pd.read_parquet("new/f.parquet")
    assert frame.index.name == "clip"
    pd.testing.assert_frame_equal(
        frame, pd.read_csv("f.csv", index_col="clip", dtype=dict.fromkeys(frame, "f4"))
    )


def test_extracts_sequences_to_a_folder_only(skmer, newcomer):
    arguments = ["extract", newcomer.table(), "--streams=audio"]
    arguments += ["--set=audio__pooling=null"]
    code, _, err = skmer(*arguments, "-o", "f.csv")
    assert code == 2 and "gives sequences" in err
    assert skmer(*arguments, "-o", "folder")[0] == 0
    files = list(Path("folder/audio-FRA").glob("*.npy"))
    assert len(files) >= 19 and np.load(files[0]).ndim == 2


def test_extract_lists_files_that_cannot_be_read(skmer, newcomer, broken):
    code, out, err = skmer("extract", broken, "-o", "f.csv", "--streams=audio,video")
    assert code == 0 and "2 files could not be read" in err
    failed = _rows("f.failures.csv")
    assert [(row["clip"], row["stream"]) for row in failed] == [
        ("broken.mp4", "audio"),
        ("broken.mp4", "video"),
    ]
    assert pd.read_csv("f.csv", index_col="clip").loc["broken.mp4"].isna().all()
    # The list of another run goes with its features
    table = newcomer.table("good.csv", newcomer.frame.drop(index=1))
    overwrite = ["-o", "f.csv", "--streams=audio,video", "--overwrite"]
    assert skmer("extract", table, *overwrite)[0] == 0
    assert not Path("f.failures.csv").exists()
    alone = newcomer.table("alone.csv", newcomer.frame.iloc[1:2])
    assert skmer("extract", alone, "-o", "a.csv", "--streams=audio")[0] == 1
    code, _, err = skmer(
        "extract", broken, "-o", "g.csv", "--streams=audio", "--on-error=raise"
    )
    assert code == 1 and "broken.mp4" in err and not Path("g.csv").exists()
    assert "Traceback" not in err and "failures(X)" not in err
    assert f"error: {broken}, row 3: " in err
    assert "--on-error nan" in err and "`skmer extract` lists them" in err
    quick = ["--set=fuse__max_epochs=1", "--no-references", "--no-robustness"]
    quick += ["--streams=audio", "--groups=none", "--cv=2", "--on-error=nan"]
    code, _, err = skmer(
        "evaluate", "mertools-attention", broken, "-o", "r", "--no-literature", *quick
    )
    assert code == 0 and "1 of 20 clips could not be read" in err
    assert "`skmer extract` lists them." in err and "failures(X)" not in err


def test_nothing_is_overwritten_unasked(skmer, newcomer):
    table = newcomer.table()
    for name in ("f.csv", "g.failures.csv", "t.xml"):
        Path(name).write_text("mine")
    Path("full").mkdir()
    Path("full", "file").write_text("mine")
    for command in (
        ["extract", table, "-o", "f.csv"],
        ["extract", table, "-o", "full"],
        ["refine", table, "-o", "f.csv"],
        ["refine", table, "-o", "g.csv", "--report", "f.csv"],
        ["evaluate", "ecmf", table, "-o", "full"],
        ["ablation", "ecmf", table, "-o", "full"],
        ["fit", "ecmf", table, "-o", "full"],
        ["fit", "ecmf", table, "-o", "f.csv"],
        ["extract", table, "-o", "g.csv"],
        ["refine", table, "-o", "r.csv", "--label-studio", "t.json"],
    ):
        code, out, err = skmer(*command)
        assert code == 2 and not out, command
    Path("full", "manifest.json").write_text('{"kind": "something else"}')
    # What is no model, and no report, is not replaced at all
    for command in ("fit", "evaluate"):
        assert skmer(command, "ecmf", table, "-o", "full", "--overwrite")[0] == 2
    for name in ("f.csv", "full/file", "g.failures.csv", "t.xml"):
        assert Path(name).read_text() == "mine"
    assert (
        skmer("extract", table, "-o", "f.csv", "--streams=text", "--overwrite")[0] == 0
    )
    assert Path("f.csv").read_text().startswith("clip,text__")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["extract", "TABLE", "-o", "f.xlsx"], "not as .xlsx"),
        (["extract", "TABLE", "-o", "f.csv", "--text-model=x", "--streams=audio"],
         "Add text to --streams"),
        (["extract", "TABLE", "-o", "f.csv", "--set", "audio__rat=8000"],
         "Did you mean audio__rate"),
        (["extract", "TABLE", "-o", "f.csv", "--set", "audio"], "must be name=value"),
        (["fit", "ecmf", "TABLE", "-o", "m", "--set", "refine=votes"],
         "refine must be one of"),
        (["fit", "ecmf", "TABLE", "-o", "m", "--set", "device=cpu"],
         "set by --device"),
        (["fit", "mertools-attention", "TABLE", "-o", "m",
          "--set", "fuse__hidden_size=big"], "'hidden_size' parameter"),
        (["evaluate", "ecmf", "TABLE", "-o", "r", "--cv=3", "--fold-file=f.csv"],
         "Give one of"),
        (["evaluate", "ecmf", "TABLE", "-o", "r", "--fold-file=f.csv"],
         "There is no file 'f.csv'"),
        (["evaluate", "ecmf", "TABLE", "-o", "r", "--cv=1"], "from 2 on"),
        (["evaluate", "ecmf", "TABLE", "-o", "r", "--cv=9"], "--cv 3"),
        (["refine", "TABLE", "-o", "r.csv", "--decisions=d.csv"],
         "There is no file 'd.csv'"),
        (["refine", "TABLE", "-o", "r.csv", "--extra-labels=llm"],
         "no column 'llm'"),
        (["predict", "TABLE", "m"], "The model comes first"),
        (["predict", ".", "no.mp4"], "there is no file 'no.mp4'"),
        (["predict", ".", "data"], "is a folder"),
        (["predict", ".", "TABLE", "-o", "p.txt"], "not as .txt"),
        (["predict", ".", "TABLE", "TABLE"], "stands alone"),
        (["predict", ".", "TABLE", "-o", "TABLE", "--overwrite"],
         "is read by this command"),
        (["predict", ".", "TABLE"], "no manifest.json"),
        (["extract", "TABLE", "-o", ""], "the path is empty"),
        (["extract", "TABLE", "-o", "fifo.csv", "--overwrite"], "no ordinary file"),
        (["extract", "TABLE", "-o", "f.csv", "--streams=audio", "--recipe=foal-net"],
         "gives sequences (pooling='windows')"),
        (["extract", "TABLE", "-o", "f.csv", "--device=gpu7"], "Got 'gpu7'"),
        (["extract", "TABLE", "-o", "f.csv", "--seed=4294967296"], "to 4294967295"),
        (["extract", "TABLE", "-o", "f.csv", "--delimiter=ab"], "one character"),
        (["extract", "TABLE", "-o", "f.csv", "--encoding=klingon"],
         "no encoding 'klingon'"),
        (["extract", "TABLE", "-o", "f.csv", "--cache=TABLE"], "is no folder"),
        (["ablation", "ecmf", "TABLE", "-o", "r", "--cv=3"],
         "(some rows of the table have 4 folds)"),
        (["refine", "TABLE", "-o", "r.csv", "--report=./r.csv"],
         "is written by this command"),
        (["refine", "TABLE", "-o", "r.csv", "--report=TABLE", "--overwrite"],
         "is read by this command"),
        (["refine", "TABLE", "-o", "r.csv", "--label-studio=r.xml"],
         "written as .json"),
        (["refine", "TABLE", "-o", "r.xlsx"], "written as .csv"),
        (["ablation", "mertools-attention", "TABLE", "-o", "r"],
         "has no table, as it is the baseline"),
        (["ablation", "mr_cll", "TABLE", "-o", "r"], "Did you mean mr-ccl"),
        (["refine", "TABLE", "-o", "r.csv", "--recipe=foal-net"],
         "does not judge by"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told_before_any_work(skmer, newcomer, arguments, told):
    if arguments[0] in ("fit", "predict"):
        pytest.importorskip("skops", reason="skops is not installed: skmer[persist]")
    table = newcomer.table()
    os.mkfifo("fifo.csv")
    before = set(Path().rglob("*"))
    code, out, err = skmer(*(a.replace("TABLE", table) for a in arguments))
    assert code == 2, err
    assert told in err and "Traceback" not in err and not out
    assert set(Path().rglob("*")) == before


def test_clips_of_one_name_do_not_become_one_file(skmer, newcomer):
    (newcomer.folder / "more").symlink_to("clips", target_is_directory=True)
    path = newcomer.frame.path[0]
    newcomer.frame.loc[1, "path"] = path.replace("clips/", "more/")
    code, _, err = skmer("extract", newcomer.table(), "-o", "f", "--streams=text")
    assert code == 2 and f"{path!r} and 'more/" in err and not Path("f").exists()
    newcomer.frame["id"] = [f"{i}/" for i in range(20)]
    code, _, err = skmer("extract", newcomer.table(), "-o", "f", "--streams=text")
    assert code == 2 and "'0/' cannot name a file" in err and not Path("f").exists()


@pytest.mark.parametrize("command", ["fit", "evaluate", "ablation", "refine"])
def test_one_class_cannot_be_learnt(skmer, newcomer, command):
    if command == "fit":
        pytest.importorskip("skops", reason="skops is not installed: skmer[persist]")
    recipe = [] if command == "refine" else ["ecmf"]
    newcomer.frame["label"] = "happy"
    code, _, err = skmer(command, *recipe, newcomer.table(), "-o", "one.csv")
    assert code == 2 and "two classes or more" in err


def test_fits_saves_and_predicts(skmer, newcomer, broken):
    pytest.importorskip("skops")
    newcomer.frame = newcomer.frame.drop(index=1)
    newcomer.frame.loc[4, "label"] = None
    table = newcomer.table()
    code, out, err = skmer("fit", "mertools-attention", table, "-o", "model", *FIT)
    assert code == 0 and "mertools-attention of 18 clips, 6 classes" in out
    assert "1 without a label" in err
    code, _, err = skmer("predict", "model", table, "-o", "p.csv")
    n_with = int((newcomer.frame["text"].fillna("") != "").sum())
    assert code == 0 and f"reads words, and only {n_with} of 19 clips have any" in err
    rows = _rows("p.csv")
    assert [row["clip"] for row in rows] == newcomer.frame["path"].tolist()
    chances = [name for name in rows[0] if name.startswith("p_")]
    assert chances == [f"p_{name}" for name in sorted({*newcomer.frame.label.dropna()})]
    for row in rows:
        values = [float(row[name]) for name in chances]
        assert sum(values) == pytest.approx(1, abs=1e-4) and not row["error"]
        assert row["label"] == chances[int(np.argmax(values))].removeprefix("p_")
    first = str(newcomer.folder / newcomer.frame["path"].iloc[0])
    bad = str(newcomer.folder / "broken.mp4")
    code, out, err = skmer("predict", "model", first, bad)
    assert code == 1 and not out and "broken.mp4" in err and "--on-error nan" in err
    code, out, err = skmer("predict", "model", first, bad, "--on-error", "nan")
    assert code == 0 and "1 of 2 clips could not be read" in err
    assert "The model reads words, and none of 2 clips have any. They come from" in err
    assert "a column text" in err and "fitted with --sidecar-text" in err
    some = newcomer.frame[newcomer.frame["text"].fillna("") != ""].iloc[:3]
    err = skmer("predict", "model", newcomer.table("some.csv", some))[2]
    assert "reads words" not in err
    good, lost = csv.DictReader(out.splitlines())
    assert good["label"] and not good["error"] and not lost["label"]
    assert "audio: " in lost["error"] and "no media format" in lost["error"]
    assert skmer("predict", "model", bad, "--on-error=nan", "-o", "p.jsonl")[0] == 1
    (line,) = Path("p.jsonl").read_text().splitlines()
    assert json.loads(line)["probabilities"] is None


def test_predictions_are_those_of_the_model(skmer, newcomer):
    pytest.importorskip("skops")
    from skmer.datasets import load_clips
    from skmer.persistence import load_model

    table = newcomer.table()
    assert skmer("fit", "mertools-attention", table, "-o", "model", *FIT)[0] == 0
    assert skmer("predict", "model", table, "-o", "p.jsonl")[0] == 0
    said = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    model = load_model("model")
    expected = model.predict_proba(load_clips(table).data)
    np.testing.assert_allclose(
        [[row["probabilities"][name] for name in model.classes_] for row in said],
        expected,
        atol=1e-6,
    )


def test_refines_labels(skmer, newcomer):
    frame = newcomer.frame
    Path("d.csv").write_text(
        f"clip,decision\n{frame.path[0]},sad\n{frame.path[1]},drop\n"
    )
    frame.loc[0, "label"] = "angry"
    frame["llm"] = ["happy", "", *frame.label[2:]]
    more = ["--streams=audio,text", "--decisions=d.csv", "--extra-labels=llm"]
    more += ["--report=report.csv", "--label-studio=tasks.json"]
    code, out, err = skmer("refine", newcomer.table(), "-o", "refined.csv", *more)
    assert code == 0, err
    assert "Left out 1 clip" in out and f"--root {newcomer.folder}" in out
    assert "to fit: --label-column label_refined" in out
    assert out.endswith("; to evaluate, keep the column label\n")
    refined = pd.read_csv("refined.csv", keep_default_na=False)
    kept = frame.drop(index=1).fillna("")
    pd.testing.assert_frame_equal(
        refined[kept.columns], kept.reset_index(drop=True), check_dtype=False
    )
    assert refined.label_refined[0] == "sad" and refined.label_changed[0] == "yes"
    changed = refined[refined.label != refined.label_refined]
    assert changed.label_changed.eq("yes").all()
    assert f"Changed {len(changed)} of 20 labels" in out
    report = pd.read_csv("report.csv").set_index("clip")
    assert report.loc[frame.path[0], "decided_by"] == "person"
    tasks = json.loads(Path("tasks.json").read_text())
    assert {task["data"]["clip"] for task in tasks} == set(report.index)
    assert tasks[0]["data"]["video"].startswith("/data/local-files/?d=clips/")
    assert Path("tasks.xml").exists()
    code, _, err = skmer("refine", "refined.csv", "-o", "b.csv", "--root", "data")
    assert code == 2 and "has a column 'label_refined' already" in err


def test_label_studio_export_is_a_decision(skmer, newcomer):
    answer = {"type": "choices", "from_name": "emotion", "to_name": "video"}
    answer["value"] = {"choices": ["sad"]}
    clip = newcomer.frame.path[0]
    newcomer.frame.loc[0, "label"] = "happy"
    export = [{"data": {"clip": clip}, "annotations": [{"result": [answer]}]}]
    Path("export.json").write_text(json.dumps(export))
    code, _, err = skmer(
        "refine", newcomer.table(), "-o", "r.csv", "--decisions=export.json",
        "--streams=audio,text",
    )  # fmt: skip
    assert code == 0, err
    assert _rows("r.csv")[0]["label_refined"] == "sad"


def test_folds_come_from_a_file_or_a_column(skmer, newcomer):
    quick = ["--no-references", "--no-literature", "--no-robustness"]
    quick += ["--set=fuse__max_epochs=1", "--streams=text"]
    newcomer.frame["fold"] = [i % 3 for i in range(20)]
    newcomer.frame["part"] = ["a", "b"] * 10
    table = newcomer.table()

    def evaluate(output, *options):
        command = ["evaluate", "mertools-attention", table, "-o", output]
        code, _, err = skmer(*command, *options, *quick)
        assert code == 0, err
        return err, ReferenceFolds.read(f"{output}/folds.csv").folds.tolist()

    told, used = evaluate("a")
    assert "Folds: those of the column 'fold', 3.\n" in told
    assert "5 of 5 speakers are in training and in test of a fold: the score" in told
    assert "5 of 5 speakers" in Path("a", "report.md").read_text()
    assert used == newcomer.frame["fold"].tolist()
    told, used = evaluate("b", "--fold-column", "part")
    assert "Folds: those of the column 'part', 2." in told
    assert used == newcomer.frame["part"].tolist()
    told, _ = evaluate("c", "--fold-file", "b/folds.csv")
    assert "Folds: those of b/folds.csv, 2." in told
    first, second = EvaluationReport.load("b"), EvaluationReport.load("c")
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    code, _, err = skmer(
        "evaluate", "ecmf", table, "-o", "d", "--fold-column", "parts", *quick
    )
    assert code == 2 and "no column 'parts'" in err
    newcomer.frame["fold"] = 3
    table = newcomer.table()
    code, _, err = skmer("evaluate", "mertools-attention", table, "-o", "d", *quick)
    assert code == 2 and "column 'fold' holds only one value, '3'" in err
    assert "two or more" in err and "--cv" in err
    told, used = evaluate("e", "--cv", "2")
    assert "Folds: 2, stratified, each speaker in one.\n" in told
    assert set(used) == {0, 1} and "flatters" not in told


def test_refined_labels_are_no_labels_to_judge_by(skmer, newcomer):
    quick = ["--no-references", "--no-literature", "--no-robustness", "--groups=none"]
    quick += ["--set=fuse__max_epochs=1", "--streams=text", "--cv=2", "--overwrite"]
    newcomer.frame["label_refined"] = newcomer.frame["label"]
    command = ["evaluate", "mertools-attention", newcomer.table(), "-o", "r", *quick]
    code, _, err = skmer(*command, "--label-column", "label_refined")
    assert code == 0 and "scores on them flatter" in err
    assert "use --label-column label." in err
    code, _, err = skmer(*command)
    assert code == 0 and "flatter" not in err


def test_settings_and_seeds_reach_the_model(skmer, newcomer):
    code, out, err = skmer(
        "evaluate", "mertools-attention", newcomer.table(), "-o", "report", *FIT,
        "--set", "fuse__hidden_size=7", "--seeds", "2", "--seed", "3", "--cv", "3",
        "--no-literature", "--no-robustness", "--no-references", "--quiet",
        "--streams=text", "--groups=none",
    )  # fmt: skip
    assert (code, err) == (0, "") and "mertools-attention" in out
    facts = EvaluationReport.load("report").facts
    assert "hidden_size=7" in facts["model"] and "max_epochs=2" in facts["model"]
    assert (facts["n_repeats"], facts["seed"], facts["n_folds"]) == (2, 3, 3)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_what_is_done(skmer, newcomer, interruptible):
    command = ["evaluate", "mertools-attention", newcomer.table(), "-o", "report"]
    command += ["--streams=text", "--seeds=500", "--groups=none", "--cv=2"]
    command += ["--set=fuse__max_epochs=2", "--no-references", "--no-literature"]
    finished = Path("report", "finished")
    process = subprocess.Popen(
        [sys.executable, "-m", "skmer", *command], stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 120
        while not list(finished.glob("*.npz")) and time.monotonic() < until:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err and "Traceback" not in err
    done = len(list(finished.glob("*.npz")))
    assert 0 < done < 1000 and not Path("report", "report.json").exists()
    # Other settings do not go on from these folds; --overwrite begins anew
    command += ["--seeds=1", "--set=fuse__hidden_size=5"]
    code, _, err = skmer(*command)
    assert code == 2 and "another evaluation" in err and "--overwrite" in err
    (finished / "mine.npz").write_text("mine")
    assert skmer(*command, "--overwrite")[0] == 0
    assert len(list(finished.glob("*.npz"))) == 2 + 1


def test_all_recipes_can_be_named():
    from skmer.cli._arguments import RECIPES as NAMES
    from skmer.cli._recipe import _OWN_OPTIONS, streams_of_recipe
    from skmer.recipes import RECIPES

    assert list(NAMES) == sorted(RECIPES)
    for name, recipe in RECIPES.items():
        assert set(_OWN_OPTIONS) <= set(signature(recipe.make).parameters)
        assert streams_of_recipe(name)


def test_ablation(skmer, newcomer, monkeypatch):
    shorten(monkeypatch)
    frame = newcomer.frame.assign(label=["calm", "glad"] * 10)
    arguments = ["ablation", "acoustic-visual", newcomer.table(frame=frame)]
    arguments += ["--rows", "HL,HL(18)", "--cv", "2", "--groups", "none"]
    code, out, err = skmer(*arguments, "-o", "table")
    assert code == 0, err
    assert "| HL(18) | not run: needs a speech model: --encoders paper |" in out
    saved = json.loads(Path("table", "ablation.json").read_text())
    waf = {row["row"]: row["WAF"] for row in saved["rows"]}
    assert f"| HL | {100 * waf['HL']:.1f} (" in out and waf["HL(18)"] is None
    assert {path.name for path in Path("table").iterdir()} == {
        "ablation.md", "ablation.csv", "ablation.json", "01-HL",
    }  # fmt: skip
    assert skmer(*arguments, "-o", "table")[0] == 2
    assert skmer(*arguments, "-o", "table", "--overwrite")[1] == out
    Path("table", "ablation.json").unlink()
    code, _, err = skmer(*arguments, "-o", "table", "--seed", "1")
    assert code == 2 and "other settings" in err and "--overwrite" in err
    mine = Path("table", "01-HL", "mine.md")
    mine.write_text("mine")
    other = skmer(*arguments, "-o", "table", "--overwrite", "--seed", "1")
    assert other[0] == 0 and other[1] != out and mine.read_text() == "mine"
    code, _, err = skmer(*arguments, "-o", "new", "--rows", "HX")
    assert code == 2 and "no row 'HX', but HL, HL(18)" in err
    assert not Path("new").exists()


def test_ablation_knows_all_tables():
    assert set(TABLES) == set(LADDERS)
