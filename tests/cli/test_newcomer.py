"""A table of twenty clips works at first try, and mistakes in it are explained."""

from pathlib import Path

import pytest

QUICK = [
    "--set=fuse__max_epochs=2",
    "--no-references",
    "--no-literature",
    "--no-robustness",
    "--streams=text",
]


@pytest.fixture
def evaluate(skmer, tmp_path):
    """Evaluate a table quickly."""

    def run(table, *more, recipe="mertools-attention"):
        report = tmp_path / "report"
        return skmer("evaluate", recipe, table, "-o", report, *QUICK, *more)

    return run


def _refused(told, *words):
    code, out, err = told
    assert code == 2, err
    assert not out and "Traceback" not in err
    for word in words:
        assert word in err, (word, err)


def _worked(told, n_clips=20):
    code, out, err = told
    assert code == 0, err
    assert f"{n_clips} clips, 6 classes" in err
    assert out.splitlines()[0].split() == ["WAF,", "%", "UA,", "%", "WA,", "%"]
    assert "report.html" in out


def test_first_try(skmer, newcomer):
    """Paths and labels are enough; all is left as it is by default."""
    table = newcomer.table(frame=newcomer.frame[["path", "label"]])
    told = skmer("evaluate", "mertools-attention", table, "-o", "report")
    _worked(told)
    assert "Streams: audio, video. No clip has words" in told[2]
    assert "stratified. Nobody knows who speaks (no column speaker), so one" in told[2]
    assert "--sidecar-text" in told[2]
    _, *systems = (line.split("  ")[0] for line in told[1].splitlines()[:4])
    assert systems == ["mertools-attention", "concat + LR", "product of LRs"]
    page = Path("report", "report.html").read_text()
    assert "mertools-attention" in page


def test_missing_file(evaluate, newcomer):
    frame = newcomer.frame
    frame.loc[3, "path"] = "clips/clip_0003.mpeg"
    _refused(evaluate(newcomer.table()), "row 5", "clips/clip_0003.mp4'?")


def test_wrong_column_names(evaluate, newcomer):
    table = newcomer.table(
        frame=newcomer.frame.rename(columns={"path": "file", "label": "emotion"})
    )
    told = evaluate(table)
    _refused(told, "row 1", "'file'", "'emotion'")
    _refused(told, "--path-column file", "--label-column emotion")
    _worked(evaluate(table, "--path-column", "file", "--label-column", "emotion"))


@pytest.mark.parametrize("cv", [[], ["--cv", "5"]])
def test_class_of_one_clip(evaluate, newcomer, cv):
    newcomer.frame.loc[5, "label"] = "disgust"
    told = evaluate(newcomer.table(), *cv)
    _refused(told, "'disgust'", "row 7", "Add clips", "leave its label empty")


def test_class_of_fewer_clips_than_folds(evaluate, newcomer):
    frame = newcomer.frame
    frame["label"] = ["sad" if i % 4 else "glad" for i in range(20)]
    frame.loc[[0, 4], "label"] = "fear"
    table = newcomer.table()
    _refused(evaluate(table, "--cv", "5"), "'fear' has 2 (rows 2, 6)", "--cv 2")
    code, _, err = evaluate(table)
    assert code == 0 and "2 folds in place of 5: the class 'fear' has 2 clips" in err


def test_class_of_one_speaker(evaluate, newcomer):
    frame = newcomer.frame
    frame["label"] = ["sad", "glad", "calm", "glad"] * 5
    frame["speaker"] = [f"ben {i % 3}" if i % 4 else "anna" for i in range(20)]
    code, _, err = evaluate(newcomer.table())
    assert code == 0, err
    assert (
        "The class 'sad' has one speaker (rows 2, 6," in err and "--groups none" in err
    )
    assert "'glad'" not in err
    code, _, err = evaluate(newcomer.table(), "--groups", "none", "--overwrite")
    assert code == 0 and "one speaker" not in err and "Folds: 5, stratified.\n" in err
    frame["speaker"] = "anna"
    for cv in ([], ["--cv", "2"]):
        told = evaluate(newcomer.table(), "--overwrite", *cv)
        _refused(told, "all labelled clips have one speaker", "--groups none")


def test_duplicate_rows(evaluate, newcomer):
    frame = newcomer.frame
    frame.loc[20] = frame.loc[2]
    _refused(evaluate(newcomer.table()), "rows 4 and 22", "Leave one")


def test_no_label_at_all(evaluate, newcomer):
    newcomer.frame["label"] = ""
    told = evaluate(newcomer.table())
    _refused(told, "no clip has a label", "as --label-column.")
    told = evaluate(newcomer.table(frame=newcomer.frame[["path", "text"]]))
    _refused(told, "the classes")
    assert "require_labels" not in told[2]


def test_absolute_and_relative_paths(evaluate, newcomer, tmp_path):
    frame = newcomer.frame
    frame.loc[1, "path"] = str(newcomer.folder / frame.loc[1, "path"])
    _worked(evaluate(newcomer.table()))
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes((newcomer.folder / "clips" / "clip_0002.mp4").read_bytes())
    frame.loc[2, "path"] = str(elsewhere)
    table = newcomer.table()
    _refused(evaluate(table, "--overwrite"), "row 4", "--allow-absolute", "--root")
    _worked(evaluate(table, "--allow-absolute", "--overwrite"))


@pytest.mark.parametrize("encoding, lines", [("utf-8-sig", "\n"), ("utf-8", "\r\n")])
def test_byte_order_mark_and_line_ends(evaluate, newcomer, encoding, lines):
    table = newcomer.table(encoding=encoding, lineterminator=lines)
    raw = Path(table).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") or b"\r\n" in raw
    _worked(evaluate(table))


def test_empty_text(evaluate, newcomer):
    newcomer.frame.loc[::2, "text"] = None
    _worked(evaluate(newcomer.table()))
    newcomer.frame["text"] = ""
    table = newcomer.table()
    code, _, err = evaluate(table, "--overwrite")
    assert code == 1 and "none of the 20 clips has text" in err
    assert "--sidecar-text" in err and "--streams" in err
    _worked(evaluate(table, "--overwrite", "--sidecar-text"))


def test_nan_label(evaluate, newcomer):
    newcomer.frame.loc[6, "label"] = "NaN"
    table = newcomer.table()
    _refused(evaluate(table), "row 8", "'NaN'", "--unlabelled NaN")
    told = evaluate(table, "--unlabelled", "NaN")
    _worked(told)
    assert "1 without a label" in told[2]


def test_unknown_recipe(evaluate, newcomer):
    told = evaluate(newcomer.table(), recipe="mertols")
    _refused(told, "no recipe 'mertols'", "Did you mean mertools-attention?", "mr-ccl")
    told = evaluate("mmef-net", recipe=newcomer.table())
    _refused(told, "the recipe comes first")


def test_no_table(evaluate, newcomer):
    newcomer.table()
    _refused(evaluate("clps.csv"), "There is no file 'clps.csv'")
    _refused(evaluate(newcomer.folder), "is a folder")


def test_all_mistakes_at_once(evaluate, newcomer):
    frame = newcomer.frame
    frame.loc[1, "path"] = "clips/gone.mp4"
    frame.loc[2, "path"] = ""
    frame.loc[3, "label"] = "n/a"
    told = evaluate(newcomer.table())
    _refused(told, "3 problems", "row 3", "row 4", "row 5")
