"""Ablation tables: rows differ, rows that lack something say what, scores are real."""

import json

import numpy as np
import pandas as pd
import pytest
from few_epochs import shorten
from sklearn.base import clone
from sklearn.metrics import f1_score
from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import text_model

from skmer.enrichment import ChatAnnotator, Transcriber
from skmer.evaluation import _ablation, ablation, evaluate
from skmer.evaluation._ablation import _Run
from skmer.evaluation._ladders import LADDERS
from skmer.evaluation._mertools_protocol import mertools_protocol
from skmer.evaluation._setting import Setting, changes
from skmer.model_selection import ReferenceFolds
from skmer.recipes import make_foal_net, make_mr_ccl
from skmer.utils._seeds import seeded_clone

CLASSES = ("happy", "neutral", "sad", "worried")


@pytest.fixture(scope="module")
def features():
    """Features of all streams; classes of unequal size, a few clips unlabelled."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.array(CLASSES, dtype=object), [18, 14, 10, 8])
    streams = ("audio", "video__face", "video__frame", "text")
    X = pd.DataFrame(
        rng.normal(size=(len(y), 12)),
        columns=[f"{stream}__{i}" for stream in streams for i in range(3)],
        index=[f"clip{i}" for i in range(len(y))],
    )
    for i, label in enumerate(CLASSES):
        X.loc[y == label, X.columns[i::4]] += 2
    y[::10] = None
    return X, y


@pytest.fixture
def few_epochs(monkeypatch):
    """What rows score does not matter here."""
    shorten(monkeypatch)


def _setting(encoders, y, annotators=None):
    clips = [f"{i}.mp4" for i in range(len(y))]
    common = {
        "sidecar_text": False,
        "cache": "default",
        "on_error": "raise",
        "device": "cpu",
        "random_state": 0,
    }
    return Setting(
        clips,
        y,
        encoders=encoders,
        streams=("audio", "video", "text"),
        annotators=annotators,
        models={},
        common=common,
    )


@pytest.mark.parametrize("encoders", ["offline", "paper"])
@pytest.mark.parametrize("name", LADDERS)
def test_every_row_changes_the_pipeline(name, encoders, features):
    _, y = features
    annotator = ChatAnnotator("m", CLASSES, base_url="http://localhost:1/v1")
    setting = _setting(encoders, y, [annotator])
    made, last = {}, None
    for row in LADDERS[name].rows:
        if any(need.startswith("features of") for need in row.needs):
            continue
        model = row.build(setting)
        clone(model)
        against = row.against or last
        if against is not None:
            other, folds = made[against]
            lacks = setting.lacks(row, model)
            differs = changes(model, other) or row.more_folds != folds
            assert differs or lacks, row.name
        made[row.name] = model, row.more_folds
        last = row.name


def test_paper_rows_lack_nothing_but_other_networks(features):
    annotator = ChatAnnotator("m", CLASSES, base_url="http://localhost:1/v1")
    setting = _setting("paper", features[1], [annotator])
    lacking = {
        row.name
        for ladder in LADDERS.values()
        for row in ladder.rows
        if setting.lacks(row, row.build(setting))
    }
    assert lacking == {"EmoNet", "SENet", "ResNet"}


def test_changes_are_told_by_parameter():
    found = changes(make_mr_ccl(noise=False), make_mr_ccl())
    assert list(found) == ["classify__estimator__noise_range"]
    assert "(0.0, 0.0)" in found["classify__estimator__noise_range"]
    assert changes(make_foal_net(), make_foal_net()) == {}


@pytest.mark.usefixtures("few_epochs")
def test_scores_are_those_of_the_pipeline(features, tmp_path):
    X, y = features
    rows = ["HL", "HLFT(16-21) + CLIPL", "HLFT(16-21)"]
    options = {"encoders": None, "n_bootstraps": 20}
    folds = ReferenceFolds.from_labels(y, clips=X, n_splits=2, random_state=3)
    report = ablation(
        "acoustic-visual", X, y, cv=folds, rows=rows, folder=tmp_path, **options
    )  # fmt: skip
    assert report.table.index.tolist() == ["HL", "HLFT(16-21)", "HLFT(16-21) + CLIPL"]
    assert (report.table["status"] == "run").all()
    row = LADDERS["acoustic-visual"].rows[0]
    setting = _setting(None, y)
    setting.streams = tuple(dict.fromkeys(c.rpartition("__")[0] for c in X.columns))
    model = row.build(setting)
    predicted = np.empty(len(y), dtype=object)
    for train, test in folds.split(X, y):
        fitted = clone(model).fit(X.iloc[train], y[train])
        predicted[test] = fitted.predict(X.iloc[test])
    known = predicted != np.array(None)
    expected = f1_score(
        y[known].astype(str), predicted[known].astype(str), average="weighted"
    )
    assert report.table.loc["HL", "WAF"] == pytest.approx(expected, abs=1e-12)
    found = report.table.loc["HLFT(16-21) + CLIPL"]
    assert found["against"] == "HLFT(16-21)"
    assert list(found["changes"]) == ["fuse__streams"]
    assert found["reported validation WAF"] == 84.34
    text = (tmp_path / "ablation.md").read_text()
    assert "| HLFT(16-21) |" in text and "optimistic" in text
    saved = json.loads((tmp_path / "ablation.json").read_text())
    assert [row["row"] for row in saved["rows"]] == report.table.index.tolist()
    table = pd.read_csv(tmp_path / "ablation.csv", index_col="row")
    np.testing.assert_allclose(table["WAF"], report.table["WAF"])
    # Finished rows are read back
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/finished/*.npz")}
    assert times
    again = ablation(
        "acoustic-visual", X, y, cv=folds, rows=rows, folder=tmp_path, **options
    )
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/finished/*.npz")}
    pd.testing.assert_series_equal(again.table["WAF"], report.table["WAF"])


@pytest.mark.usefixtures("few_epochs")
def test_rows_that_lack_something_say_what(features):
    X, y = features
    X = X.drop(columns=[c for c in X.columns if c.startswith("video__frame")])
    labelled = pd.notna(y)
    report = ablation(
        "ecmf", X[labelled], y[labelled], encoders=None, cv=2, n_bootstraps=0,
        rows=["+ dual-branch video", "+ RoBERTa", "+ GPT-4 labels", "+ six folds"],
    )  # fmt: skip
    status = report.table["status"]
    assert status["+ dual-branch video"] == "not run: needs the stream video__frame"
    assert "encoders='paper'" in status["+ RoBERTa"]
    assert "annotators=[" in status["+ GPT-4 labels"]
    assert status["+ six folds"] == "run"
    assert report.table.loc["+ six folds", "folds"] == 3
    assert report.table.loc["+ six folds", "changes"] == {"cv": "2 -> 3"}
    assert report.table["WAF"].notna().tolist() == (status == "run").tolist()
    assert r"not run: needs the stream video\_\_frame" in report.to_markdown()
    few = ablation(
        "mr-ccl", X[labelled], y[labelled], encoders=None, cv=2, n_bootstraps=0,
        rows=["w/o pseudo labels"],
    )  # fmt: skip
    assert few.table.loc["w/o pseudo labels", "status"] == (
        "not run: all clips are labelled, so MR-CCL itself runs without pseudo labels"
    )
    assert (
        "Best epoch is blank where a row ends in no single network" in few.to_markdown()
    )


def test_absent_models_are_named(small_clips, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = ablation(
        "acoustic-visual", small_clips.paths, list("abc" * 2), encoders="paper",
        cv=2, rows=["HL(18)"], models={"openai/clip-vit-large-patch14": "nobody/none"},
    )  # fmt: skip
    assert report.table.loc["HL(18)", "status"].startswith(
        "not run: needs the model TencentGameMate/chinese-hubert-large ("
    )


@pytest.mark.usefixtures("few_epochs")
def test_models_of_the_user_take_the_place_of_those_named(small_clips):
    models = {
        "TencentGameMate/chinese-hubert-large": speech_model("hubert-large"),
        "openai/clip-vit-large-patch14": image_model("clip"),
        "Qwen/Qwen2.5-7B": text_model("bert"),
    }
    report = ablation(
        "acoustic-visual", small_clips.paths, list("abc" * 2), encoders="paper",
        models={name: str(path) for name, path in models.items()}, cv=2,
        n_bootstraps=0, rows=["HL", "CLIPL"],
    )  # fmt: skip
    assert report.table["status"].tolist() == ["run", "run"]
    assert report.table["WAF"].notna().all()


@pytest.mark.usefixtures("few_epochs")
def test_protocol_of_mertools(features, tmp_path):
    X, y = features
    setting = _setting(None, y)
    setting.streams = ("audio", "video__face", "text")
    model = LADDERS["mr-ccl"].rows[0].build(setting)
    model.set_params(fuse__max_epochs=3)
    options = {"recipe": "mertools-attention", "n_splits": 2, "n_draws": 2}
    mean, std, best = mertools_protocol(model, X, y, n_reruns=2, seed=1, **options)
    assert set(best) == {"fuse__hidden_size", "fuse__dropout", "fuse__lr"}
    assert 0 < mean <= 1 and std > 0
    assert mertools_protocol(model, X, y, n_reruns=2, seed=1, **options)[0] == mean
    # What it reports is the best epoch of the fold that is reported
    honest = evaluate(
        seeded_clone(model, 1).set_params(**best), X[pd.notna(y)], y[pd.notna(y)],
        cv=2, references=False, robustness=False, n_bootstraps=0,
    )  # fmt: skip
    protocols = honest.protocols["WAF"]
    assert protocols["literature"] >= protocols["honest"]
    report = ablation(
        "mr-ccl", X, y, encoders=None, cv=_Folds(), rows=["baseline"], n_bootstraps=0,
        protocol="mertools", n_draws=1, n_reruns=1, folder=tmp_path,
    )  # fmt: skip
    assert len(list((tmp_path / "01-baseline" / "mertools").iterdir())) == 1 + 2
    assert report.table["MERTools protocol WAF"].notna().all()
    assert "MERTools protocol WAF" in report.to_markdown()


class _Folds:
    """Two folds of the labelled rows, all else in training."""

    def split(self, X, y=None, groups=None):
        rows = np.arange(len(y))
        known = pd.notna(y)
        for part in (0, 1):
            test = known & (rows % 2 == part)
            yield rows[~test], rows[test]

    def get_n_splits(self, X=None, y=None, groups=None):
        return 2


def test_clips_without_a_stream(features):
    X, y = features
    cells = {}
    for name in ("audio", "video"):
        cells[f"{name}__frames"] = np.empty(len(y), dtype=object)
        cells[f"{name}__frames"][:] = list(np.zeros((len(y), 4, 2), np.float32))
    cells = pd.DataFrame(cells, index=X.index)
    for name, table, gone in [
        ("foal-net", cells, "video"),
        ("foal-net", cells, "audio"),
        ("acoustic-visual", X, "audio"),
        ("acoustic-visual", X, "text"),
    ]:
        table = table[[c for c in table if not c.startswith(gone)]]
        rows = [row for row in LADDERS[name].rows if f"stream {gone}" in row.needs]
        report = ablation(
            name, table, y, encoders=None, cv=2, rows=[row.name for row in rows]
        )
        assert len(rows) > 1
        assert set(report.table["status"]) == {f"not run: needs the stream {gone}"}


def test_annotators_that_give_no_labels(features):
    X, y = features
    rows = ["+ GPT-4 labels"]
    chat = ChatAnnotator("m", CLASSES, base_url="http://localhost:1/v1")
    report = ablation("ecmf", X, y, encoders=None, cv=2, annotators=[chat], rows=rows)
    assert "needs clips, which annotators work on" in report.table["status"].iloc[0]
    paths = [f"{i}.mp4" for i in range(len(y))]
    report = ablation("ecmf", paths, y, cv=2, annotators=[Transcriber("m")], rows=rows)
    assert "needs a language model" in report.table["status"].iloc[0]


def test_models_of_a_server_need_not_be_here(features):
    chat = ChatAnnotator("nobody/none", CLASSES, base_url="http://localhost:1/v1")
    setting = _setting("offline", features[1], [chat])
    row = next(r for r in LADDERS["ecmf"].rows if r.name == "+ GPT-4 labels")
    model = row.build(setting)
    assert "nobody/none" in str(model)
    assert setting.absent_models(model) == ""


def test_models_of_the_user_come_after_those_that_rows_exchange(features, tmp_path):
    """Also where their folders have long names that differ at the end alone."""
    y = features[1]
    paths = [f"{i}.mp4" for i in range(len(y))]
    names = [
        "TencentGameMate/chinese-hubert-large",
        "openai/clip-vit-large-patch14",
        "hfl/chinese-roberta-wwm-ext",
        "hfl/chinese-roberta-wwm-ext-large",
    ]
    folder = tmp_path / ("long" * 30)
    models = {name: str(folder / name.partition("/")[2]) for name in names}
    ladder = LADDERS["mmef-net"]
    setting = _setting("paper", y)
    setting.models = models
    run = _Run(setting, paths, y, 3, None, "honest", None)
    for row in ladder.rows:
        run.add(ladder, row, False)
    rows = {name: model for name, (model, _) in run.made.items()}
    before, after = rows["+ projection head"], rows["+ RoBERTa"]
    found = changes(after, before)
    assert list(found) == ["encode__text__model"]
    assert found["encode__text__model"].endswith("wwm-ext-large'")
    found = changes(rows["+ selected HuBERT layers"], rows["+ MLP"])
    assert "encode__audio__layers" in found
    assert rows["+ MLP"].get_params()["encode__audio__preset"] == "mertools"


@pytest.mark.usefixtures("few_epochs")
def test_rows_keep_their_folders(features, tmp_path):
    X, y = features
    options = {"encoders": None, "cv": 2, "n_bootstraps": 0, "folder": tmp_path}
    ablation("acoustic-visual", X, y, rows=["CLIPL"], **options)
    # Where they stand in the whole table, whatever rows are run
    names = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert names == ["06-CLIPL"]


@pytest.mark.usefixtures("few_epochs")
def test_protocol_leaves_alone_what_rows_are_about(features, monkeypatch):
    """Rows of one table would else be one search."""
    X, y = features
    asked = []

    def note(model, X, y, *, fixed, **options):
        asked.append(fixed)
        return 0.5, 0.0, {}

    monkeypatch.setattr(_ablation, "mertools_protocol", note)
    cells = {}
    for name in ("audio", "video"):
        cells[f"{name}__frames"] = np.empty(len(y), dtype=object)
        cells[f"{name}__frames"][:] = list(np.ones((len(y), 3, 2), np.float32))
    cells = pd.DataFrame(cells, index=X.index)
    ablation(
        "foal-net", cells, y, encoders=None, cv=2, rows=["baseline"], n_bootstraps=0,
        protocol="mertools",
    )  # fmt: skip
    (fixed,) = asked
    assert {"fuse__alignment_weight", "fuse__matching_weight"} <= fixed
    model = make_foal_net(encoders=None, align=False, match=False, random_state=0)
    _, _, best = mertools_protocol(
        model.set_params(fuse__max_epochs=1), cells, y, recipe="foal-net",
        fixed=fixed, n_splits=2, n_draws=1, n_reruns=1,
    )  # fmt: skip
    assert set(best) == {"fuse__hidden_size", "fuse__n_layers", "fuse__lr"}
    run = _Run(_setting("offline", y), None, y, 2, None, "mertools", None)
    assert "classify__second_params" in run.varied(LADDERS["mr-ccl-learning-rate"])


@pytest.mark.usefixtures("few_epochs")
def test_labels_are_read_by_clip_id(features):
    X, y = features
    labels = pd.Series(y, index=X.index)
    options = {"encoders": None, "cv": 2, "n_bootstraps": 0, "rows": ["HL"]}
    one = ablation("acoustic-visual", X, labels, **options)
    other = ablation("acoustic-visual", X, labels.iloc[::-1], **options)
    assert one.table["WAF"].tolist() == other.table["WAF"].tolist()


@pytest.mark.usefixtures("few_epochs")
def test_tables_hold_no_markup(features):
    X, y = features
    labels = np.where(pd.isna(y), None, "<b>|" + y.astype(str))
    report = ablation(
        "mr-ccl-oversampling", X, labels, encoders=None, cv=2, n_bootstraps=0,
        rows=["850/850/850"],
    )  # fmt: skip
    text = report.to_markdown()
    assert "&lt;b&gt;" in text and "<b>" not in text


def test_unknown_rows_and_tables(features):
    X, y = features
    with pytest.raises(ValueError, match="has no row 'w/o everything'. It has"):
        ablation("mr-ccl", X, y, encoders=None, rows=["w/o everything"])
    tables = "'foal-net', 'mr-ccl', 'mr-ccl-oversampling'.*Did you mean 'mr-ccl'"
    for name in ("mrccl", "mr_cl", "mr_ccl"):
        with pytest.raises(ValueError, match=f"no table '{name}', only .*{tables}"):
            ablation(name, X, y, encoders=None)
    with pytest.raises(ValueError, match="no table, as it is the baseline"):
        ablation("mertools-attention", X, y, encoders=None)
    with pytest.raises(ValueError, match="cv must be .* or a splitter. Got '3'"):
        ablation("mr-ccl", X, y, encoders=None, cv="3")
    with pytest.raises(ValueError, match="groups has 3 values, X has 50 clips"):
        ablation("mr-ccl", X, y, encoders=None, groups=[1, 2, 3])


def test_settings_are_shown_whole(features):
    setting = _setting("offline", features[1])
    rows = {row.name: row.build(setting) for row in LADDERS["mr-ccl"].rows}
    told = changes(rows["MR-CCL"], rows["baseline"])["classify"]
    assert "..." not in told and "at_least(0.8013)" in told
    rows = {row.name: row.build(setting) for row in LADDERS["ecmf"].rows}
    told = changes(rows["+ ensemble"], rows["+ MLP"])["fuse__variants"]
    assert "..." not in told and told.endswith("{'stream_heads': None}]")


def test_new_steps_are_told_without_what_all_rows_share():
    common = {"cache": "somewhere", "device": "cpu", "random_state": 0}
    found = changes(
        make_foal_net(**common), make_foal_net(streams=("video",), **common)
    )
    assert found["encode__audio"] == "new: AcousticEncoder(pooling='windows')"
