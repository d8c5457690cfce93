"""Runs that are stopped go on, and never with what belongs to another run."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from skmer.evaluation import EvaluationReport, evaluate
from skmer.evaluation._fold import FoldResult
from skmer.evaluation._mertools_protocol import mertools_protocol
from skmer.evaluation._resume import FinishedFolds, fingerprint, write_whole
from skmer.fusion import AttentionFusionClassifier

SETTINGS = {"cv": 4, "n_bootstraps": 20, "references": False}


class Stopping(LogisticRegression):
    """Counts its fits in a file, and is interrupted in one of them."""

    def __init__(self, log=None, C=1.0):
        super().__init__(C=C)
        self.log = log

    def fit(self, X, y):
        with open(self.log, "a") as log:
            log.write("fit\n")
        if os.path.exists(f"{self.log}.stop") and n_fits(self.log) == 3:
            raise KeyboardInterrupt
        return super().fit(X, y)


def n_fits(log):
    with open(log) as file:
        return len(file.readlines())


@pytest.fixture
def numbers(data):
    X, y = data
    return X.fillna(0), y


def test_a_run_that_was_interrupted_goes_on(numbers, tmp_path, capsys):
    log, folder = tmp_path / "log", tmp_path / "report"
    model = Stopping(str(log))
    stop = tmp_path / "log.stop"
    stop.touch()
    with pytest.raises(KeyboardInterrupt) as raised:
        evaluate(model, *numbers, folder=folder, verbose=True, **SETTINGS)
    assert "call again to go on" in raised.value.__notes__[0]
    kept = sorted(path.name for path in (folder / "finished").iterdir())
    assert kept == ["0-0.npz", "0-1.npz", "about.json"]
    assert not (folder / "report.json").exists()
    assert "2/4" in capsys.readouterr().err

    stop.unlink()
    report = evaluate(model, *numbers, folder=folder, **SETTINGS)
    assert n_fits(log) == 3 + 2
    whole = evaluate(model, *numbers, **SETTINGS)
    for name in ("predictions", "scores", "confusion", "calibration"):
        pd.testing.assert_frame_equal(getattr(report, name), getattr(whole, name))
    loaded = EvaluationReport.load(folder)
    pd.testing.assert_frame_equal(loaded.predictions, whole.predictions)

    # Other draws are other tables of the same folds; repeats are more folds
    more = {**SETTINGS, "n_bootstraps": 50, "n_repeats": 2}
    more = evaluate(model, *numbers, folder=folder, **more)
    assert n_fits(log) == 5 + 4 + 4
    assert more.facts["n_bootstraps"] == 50
    assert len(more.predictions) == 2 * len(numbers[1])


def test_a_network_goes_on_with_all_its_parts(data, tmp_path):
    net = AttentionFusionClassifier(max_epochs=2, hidden_size=8, random_state=0)
    settings = {"cv": 2, "n_bootstraps": 20, "fit_alone": True}
    first = evaluate(net, *data, folder=tmp_path, **settings)
    (tmp_path / "finished" / "0-1.npz").write_bytes(b"damaged")
    second = evaluate(net, *data, folder=tmp_path, **settings)
    for name, table in first.tables.items():
        if name not in ("run_time", "fold_scores"):
            pd.testing.assert_frame_equal(getattr(second, name), table)
    assert second.notes == first.notes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "C"}, "other parameters"),
        ({"X": 1.0}, "other clips, features"),
        ({"y": "swap"}, "other clips, features"),
        ({"cv": StratifiedKFold(3)}, "other folds"),
        ({"robustness": False}, "other settings"),
    ],
)
def test_another_run_is_an_error(change, reason, numbers, tmp_path):
    X, y = numbers
    log = str(tmp_path / "log")
    folder = tmp_path / "report"
    evaluate(Stopping(log), X, y, folder=folder, **SETTINGS)
    before = (folder / "report.json").read_bytes()
    model = Stopping(log, C=2.0) if "model" in change else Stopping(log)
    X = X + change.pop("X", 0.0)
    if change.pop("y", None):
        y = np.array([{"sad": "happy", "happy": "sad"}.get(v, v) for v in y])
    change.pop("model", None)
    with pytest.raises(ValueError, match=f"another evaluation: .*{reason}"):
        evaluate(model, X, y, folder=folder, **{**SETTINGS, **change})
    assert (folder / "report.json").read_bytes() == before


def test_a_report_of_another_run_is_not_overwritten(numbers, report, tmp_path):
    report.save(tmp_path)
    settings = {**SETTINGS, "folder": tmp_path}
    with pytest.raises(FileExistsError, match="another evaluation"):
        evaluate(LogisticRegression(), *numbers, **settings)
    assert EvaluationReport.load(tmp_path).facts["n_folds"] == 3
    evaluate(LogisticRegression(), *numbers, overwrite=True, **settings)
    assert EvaluationReport.load(tmp_path).facts["n_folds"] == 4


@pytest.fixture(scope="module")
def _finished(data, tmp_path_factory):
    X, y = data
    folder = tmp_path_factory.mktemp("finished") / "report"
    evaluate(
        LogisticRegression(C=2.0), X.fillna(0), y, n_repeats=2, folder=folder,
        **SETTINGS,
    )  # fmt: skip
    return folder


@pytest.fixture
def other(_finished, tmp_path):
    """A folder with a finished evaluation, and files of the user among its own."""
    folder = shutil.copytree(_finished, tmp_path / "report")
    (folder / "weights.png").touch()
    for name in ("notes.md", "features.npz", "finished/0-0.csv", "finished/x-0-0.npz"):
        (folder / name).write_text("mine")
    (folder / "finished" / "9-9.npz").mkdir()
    return folder


def _files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_another_run_is_replaced_when_asked(numbers, other):
    before = _files(other)
    log = other / "log"
    report = evaluate(
        Stopping(str(log)), *numbers, folder=other, overwrite=True, **SETTINGS
    )
    assert n_fits(log) == 4
    same = EvaluationReport.load(other)
    pd.testing.assert_frame_equal(same.predictions, report.predictions)
    gone = {f"finished/1-{fold}.npz" for fold in range(4)} | {"weights.png"}
    assert _files(other) == before - gone | {"log"}
    assert (other / "finished" / "x-0-0.npz").read_text() == "mine"
    # The same evaluation goes on, whether asked or not
    evaluate(Stopping(str(log)), *numbers, folder=other, overwrite=True, **SETTINGS)
    assert n_fits(log) == 4


def test_a_stop_while_another_run_is_replaced(numbers, other):
    log = other / "log"
    (other / "log.stop").touch()
    settings = {**SETTINGS, "folder": other}
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopping(str(log)), *numbers, overwrite=True, **settings)
    kept = {name for name in _files(other) if name.startswith("finished/")}
    assert not (other / "report.html").exists()
    assert {"finished/0-0.npz", "finished/0-1.npz"} < kept
    assert not {"finished/0-2.npz", "finished/1-0.npz"} & kept
    (other / "log.stop").unlink()
    evaluate(Stopping(str(log)), *numbers, **settings)
    assert n_fits(log) == 3 + 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", "[1, 2]"),
        ("report.json", '{"facts": "of something else"}'),
        ("finished/about.json", "{"),
        ("finished/about.json", "[]"),
        ("finished/about.json", '{"format": 1}'),
        ("finished/about.json", None),
    ],
)
def test_what_may_not_be_skmers_is_never_removed(name, content, numbers, other):
    (other / name).unlink() if content is None else (other / name).write_text(content)
    before = _files(other)
    with pytest.raises(FileExistsError, match="cannot tell that it wrote all of it"):
        evaluate(
            LogisticRegression(), *numbers, folder=other, overwrite=True, **SETTINGS
        )
    assert _files(other) == before


def test_links_to_files_of_others_are_not_followed(numbers, other, tmp_path_factory):
    mine = tmp_path_factory.mktemp("elsewhere") / "0-3.npz"
    mine.write_text("mine")
    link = other / "finished" / "0-3.npz"
    link.unlink()
    link.symlink_to(mine)
    evaluate(LogisticRegression(), *numbers, folder=other, overwrite=True, **SETTINGS)
    assert mine.read_text() == "mine" and not link.is_symlink()


def test_a_model_that_cannot_be_told_from_others_is_an_error(numbers, tmp_path):
    model = LogisticRegression()
    model.C = Unpicklable(1.0)
    with pytest.raises(ValueError, match="it does not pickle"):
        evaluate(model, *numbers, folder=tmp_path / "r", **SETTINGS)
    assert evaluate(model, *numbers, **SETTINGS).scores is not None


class Unpicklable(float):
    def __reduce__(self):
        raise TypeError("not me")

    def __deepcopy__(self, memo):
        return self


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "import numpy as np, pandas as pd\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "from skmer.fusion import AttentionFusionClassifier\n"
        "from skmer.evaluation._resume import fingerprint\n"
        "net = AttentionFusionClassifier(streams=('a', 'b'))\n"
        "X = pd.DataFrame({'a__0': [1.0, 2.0]}, index=['x', 'y'])\n"
        "rows = np.array(['u', None], object), None, [(np.arange(1), np.arange(1))]\n"
        "found = fingerprint(make_pipeline(StandardScaler(), net), X, *rows, {'a': 1},"
        " {})\n"
    )
    here = {}
    exec(code, here)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(found)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == str(here["found"])


def test_clips_count_by_content(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    common = (np.array(["u"]), None, [], {}, {})
    X = [str(path)]
    before = fingerprint(LogisticRegression(), X, *common)
    assert before == fingerprint(LogisticRegression(), list(X), *common)
    path.write_bytes(b"another")
    assert before["data"] != fingerprint(LogisticRegression(), X, *common)["data"]
    frame = pd.DataFrame({"video": X}, index=["id"])
    known = fingerprint(LogisticRegression(), frame, *common)
    path.write_bytes(b"a third one")
    assert known["data"] != fingerprint(LogisticRegression(), frame, *common)["data"]


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def broken(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, broken)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


class Net(Stopping):
    """Has the parameters that MERTools' recipe searches."""

    def __init__(self, log=None, hidden_size=1, dropout=0.1, lr=1.0):
        super().__init__(log=log)
        self.hidden_size, self.dropout, self.lr = hidden_size, dropout, lr

    def fit(self, X, y):
        self.C = self.lr
        return super().fit(X, y)


def test_the_protocol_of_mertools_goes_on(numbers, tmp_path):
    log, stop, folder = tmp_path / "log", tmp_path / "log.stop", tmp_path / "runs"
    model = Pipeline([("fuse", Net(str(log)))])
    options = {"recipe": "mertools-attention", "n_splits": 2, "n_draws": 2}
    options |= {"n_reruns": 1, "folder": folder}
    stop.touch()
    with pytest.raises(KeyboardInterrupt) as raised:
        mertools_protocol(model, *numbers, **options)
    assert str(folder) in raised.value.__notes__[0]
    assert len(list(folder.glob("*.json"))) == 1 + 1
    stop.unlink()
    found = mertools_protocol(model, *numbers, **options)
    assert n_fits(log) == 3 + 2 * 2
    assert mertools_protocol(model, *numbers, **options) == found
    assert n_fits(log) == 3 + 2 * 2
    assert mertools_protocol(model, *numbers, **{**options, "folder": None}) == found
    # What is asked for may change, what is judged may not
    mertools_protocol(model, *numbers, **{**options, "n_reruns": 2})
    other = Pipeline([("fuse", Net(str(log), hidden_size=2))])
    with pytest.raises(FileExistsError, match=r"other parameters.*overwrite=True"):
        mertools_protocol(other, *numbers, **options)
    (folder / "mine.json").write_text("{}")
    mertools_protocol(other, *numbers, overwrite=True, **options)
    assert len(list(folder.glob("*.json"))) == 3 + 2
    next(path for path in folder.glob("*.json") if len(path.stem) == 32).write_text("{")
    before = n_fits(log)
    mertools_protocol(other, *numbers, **options)
    assert n_fits(log) == before + 2


@pytest.mark.parametrize("flips", [1, 30])
def test_damaged_folds_are_none(tmp_path, flips):
    folds = FinishedFolds(tmp_path, {"data": "x"})
    result = FoldResult({"model": np.arange(500)}, seconds={}, facts={}, notes={})
    folds.write("0-0", result)
    path = tmp_path / "finished" / "0-0.npz"
    whole, rng, lost = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        spoilt = np.frombuffer(whole, dtype=np.uint8).copy()
        spoilt[rng.integers(len(spoilt), size=flips)] ^= np.uint8(rng.integers(1, 256))
        path.write_bytes(spoilt.tobytes())
        read = folds.read("0-0")
        lost += read is None
        assert read is None or read.arrays["model"].tolist() == list(range(500))
    assert lost > 100
