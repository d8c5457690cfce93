"""evaluate: against scikit-learn's own cross-validation, and without leaks."""

import numpy as np
import pandas as pd
import pytest
from byte_encoder import ByteHistogramEncoder
from imblearn.pipeline import Pipeline as SamplerPipeline
from joblib import parallel_config
from leaks import changed_rows
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skmer.clips import ClipTable
from skmer.ensemble import StreamVotingClassifier, VariantVotingClassifier
from skmer.evaluation import evaluate
from skmer.fusion import AttentionFusionClassifier, CrossAttentionFusionClassifier
from skmer.model_selection import ReferenceFolds, UnlabeledInTrain
from skmer.over_sampling import DropUnlabeled
from skmer.preprocessing import ModalityImputer
from skmer.recipes import make_mertools_attention

FAST = {"n_bootstraps": 20}
# The model alone
BARE = {**FAST, "references": False, "robustness": False, "literature": False}
CV = StratifiedKFold(3, shuffle=True, random_state=1)


def net(**params):
    settings = {"max_epochs": 4, "hidden_size": 8, "lr": 1e-2, "random_state": 0}
    return AttentionFusionClassifier(**{**settings, **params})


def by_hand():
    """The two references as a user would write them."""
    concat = make_pipeline(
        ModalityImputer(), StandardScaler(), LogisticRegression(max_iter=1000)
    )
    product = make_pipeline(
        ModalityImputer(),
        StandardScaler(),
        StreamVotingClassifier(LogisticRegression(C=0.1, max_iter=1000)),
    )
    return {
        "concat + LR": concat,
        "product of LRs": product.set_output(transform="pandas"),
    }


@pytest.fixture(scope="module")
def of_net(data):
    return evaluate(net(), *data, cv=CV, fit_alone=True, **FAST)


def test_references_are_scikit_learns_cross_validation(data, plain_model):
    X, y = data
    report = evaluate(plain_model, X, y, cv=CV, **FAST)
    models = {"LogisticRegression": plain_model, **by_hand()}
    for name, model in models.items():
        predicted = cross_val_predict(model, X, y, cv=CV)
        row = report.references.loc[name]
        waf = f1_score(y, predicted, average="weighted")
        assert row["WAF"] == pytest.approx(waf, abs=1e-15)
        assert row["UA"] == pytest.approx(balanced_accuracy_score(y, predicted))
        assert row["WA"] == accuracy_score(y, predicted)
    predicted = cross_val_predict(plain_model, X, y, cv=CV, method="predict_proba")
    said = report.predictions[["P(angry)", "P(happy)", "P(sad)"]]
    np.testing.assert_array_equal(said, predicted)
    assert report.predictions.index.tolist() == X.index.tolist()


def test_a_network_is_scored_as_cross_validation_scores_it(data, of_net):
    X, y = data
    predicted = cross_val_predict(net(), X, y, cv=CV)
    assert of_net.predictions["predicted"].tolist() == predicted.tolist()
    waf = f1_score(y, predicted, average="weighted")
    assert of_net.scores.loc["WAF", "score"] == pytest.approx(waf, abs=1e-15)
    folds = [
        f1_score(y[test], predicted[test], average="weighted")
        for _, test in CV.split(X, y)
    ]
    np.testing.assert_allclose(of_net.fold_scores["WAF"], folds)
    assert of_net.confusion.to_numpy().sum() == len(y)
    assert of_net.per_class["support"].tolist() == [30, 30, 30]


def test_the_literatures_score_is_the_best_epoch_of_each_fold(data, of_net):
    X, y = data
    best = []
    for train, test in CV.split(X, y):
        fitted = net(keep_epochs=True).fit(X.iloc[train], y[train])
        said = fitted.staged_predict_proba(X.iloc[test])
        codes = [fitted.classes_[proba.argmax(axis=1)] for proba in said]
        best.append(max(f1_score(y[test], c, average="weighted") for c in codes))
    protocols = of_net.protocols
    assert protocols.loc["literature", "WAF"] == pytest.approx(np.mean(best))
    honest = of_net.fold_scores["WAF"].mean()
    assert protocols.loc["honest", "WAF"] == pytest.approx(honest)
    assert protocols.loc["literature", "WAF"] >= protocols.loc["honest", "WAF"]
    assert "optimistic" in protocols.loc["literature", "meaning"]


def test_what_is_asked_for_does_not_change_the_scores(data, of_net):
    bare = evaluate(net(), *data, cv=CV, calibration=False, **BARE)
    pd.testing.assert_frame_equal(bare.predictions, of_net.predictions)
    for name in ("references", "protocols", "robustness", "calibration"):
        assert getattr(bare, name) is None
    assert bare.notes["references"] == bare.notes["literature"] == "not asked for"


def test_missing_modalities_are_missing_in_the_test_rows_alone(data, of_net):
    X, y = data
    gone = [name for name in X if name.startswith(("audio", "text"))]
    predicted = np.empty(len(y), dtype=object)
    for train, test in CV.split(X, y):
        masked = X.iloc[test].copy()
        masked[gone] = np.nan
        predicted[test] = net().fit(X.iloc[train], y[train]).predict(masked)
    table = of_net.robustness.set_index(["system", "missing"])
    row = table.loc[("AttentionFusionClassifier", "audio, text")]
    assert row["WAF"] == pytest.approx(f1_score(y, predicted, average="weighted"))
    assert row["change"] == pytest.approx(
        row["WAF"] - of_net.scores.loc["WAF", "score"]
    )
    missing = table.loc["AttentionFusionClassifier"].index.tolist()
    singles_and_pairs = ["audio", "video", "text"]
    singles_and_pairs += ["audio, video", "audio, text", "video, text"]
    assert sorted(missing) == sorted(["nothing", *singles_and_pairs])


def test_one_modality_at_a_time(data, of_net):
    X, y = data
    table = of_net.per_modality.set_index(["system", "modality"])
    predicted = cross_val_predict(
        net(), X[["audio__0", "audio__1", "audio__2"]], y, cv=CV
    )
    row = table.loc[("model fitted on it alone", "audio")]
    assert row["WAF"] == pytest.approx(f1_score(y, predicted, average="weighted"))
    columns = [name for name in X if name.startswith("text")]
    alone = make_pipeline(
        ModalityImputer(), StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
    )
    predicted = cross_val_predict(alone, X[columns], y, cv=CV)
    row = table.loc[("LR on it alone", "text")]
    assert row["WAF"] == pytest.approx(f1_score(y, predicted, average="weighted"))


def test_streams_that_a_model_names_are_narrowed(data):
    model = make_pipeline(StandardScaler(), net(streams=("audio", "video", "text")))
    model.set_output(transform="pandas")
    report = evaluate(model, *data, cv=CV, fit_alone=True, references=False, **FAST)
    systems = report.per_modality["system"].value_counts()
    assert systems["model fitted on it alone"] == 3


def test_weights_are_those_of_held_out_clips(data, of_net):
    X, y = data
    expected = np.empty((len(y), 3))
    for train, test in CV.split(X, y):
        fitted = net().fit(X.iloc[train], y[train])
        expected[test] = fitted.modality_weights(X.iloc[test], normalize=True)
    expected[expected == 0] = np.nan
    assert of_net.weights.columns.tolist() == ["audio", "text", "video"]
    for label in ("angry", "happy", "sad"):
        np.testing.assert_allclose(
            of_net.weights.loc[label].to_numpy(float),
            np.nanmean(expected[y == label], axis=0),
        )
    np.testing.assert_allclose(
        of_net.weights.loc["all clips"].to_numpy(float), np.nanmean(expected, axis=0)
    )


@pytest.mark.parametrize("partly", [False, True])
def test_held_out_rows_have_no_say(data, partly):
    X, y = data
    y = y.copy()
    folds = ReferenceFolds.from_labels(y, clips=X, n_splits=3)
    if partly:
        y[:8] = None
    # Half of the fold that is tested changes, the other half must not notice
    test = next(folds.split(X, y))[1]
    changed, watched = test[::2], test[1::2]
    X2, y2 = changed_rows(X, y, changed)
    assert (y2[changed] != y[changed]).all()
    settings = {"cv": folds, **BARE}
    before, after = (
        evaluate(net(), *pair, **settings).predictions for pair in ((X, y), (X2, y2))
    )
    ids = X.index[watched]
    pd.testing.assert_frame_equal(before.loc[ids], after.loc[ids])
    # The rest of the data learns from them
    others = before.index.difference(X.index[test])
    assert (before.loc[others, "P(sad)"] != after.loc[others, "P(sad)"]).any()


def test_references_and_masks_have_no_leak_either(data):
    X, y = data
    folds = ReferenceFolds.from_labels(y, clips=X, n_splits=3)
    test = next(folds.split(X, y))[1]
    X2, y2 = changed_rows(X, y, test)
    found = []
    for pair in ((X, y), (X2, y2)):
        # Tested on other rows than those that changed, by the same training rows
        both = pd.concat([pair[0], X.iloc[test].rename(index="{} again".format)])
        labels = np.concatenate([pair[1], y[test]])
        fold = folds.folds.reindex(X.index).astype(object)
        fold.iloc[test] = "changed"
        series = pd.concat(
            [fold, pd.Series("tested", index=[f"{i} again" for i in X.index[test]])]
        ).map(lambda f: f if isinstance(f, str) else "train")
        cv = ReferenceFolds(series, test="tested", train="train")
        found.append(evaluate(net(), both, labels, cv=cv, fit_alone=True, **FAST))
    for name in ("references", "robustness", "per_modality", "weights", "calibration"):
        pd.testing.assert_frame_equal(getattr(found[0], name), getattr(found[1], name))


def test_a_number_of_folds_needs_labels_for_all(data):
    X, y = data
    y = y.copy()
    y[:5] = None
    with pytest.raises(ValueError, match=r"5 of 90 .*UnlabeledInTrain\(4\)"):
        evaluate(net(), X, y, cv=4)
    report = evaluate(net(), X, y, cv=UnlabeledInTrain(3), **BARE)
    assert report.facts["n_labelled"] == len(report.predictions) == 85
    assert not report.predictions.index.isin(X.index[:5]).any()
    with pytest.raises(ValueError, match=r"UnlabeledInTrain\(StratifiedKFold"):
        evaluate(net(), X, y, cv=CV)
    assert (report.fold_scores["n_train"] + report.fold_scores["n_test"] == 90).all()
    again = list(report.folds.split(X, y))
    for (train, test), (train2, test2) in zip(
        again, UnlabeledInTrain(3).split(X, y), strict=True
    ):
        np.testing.assert_array_equal(train, train2)
        np.testing.assert_array_equal(test, test2)


def test_a_model_that_takes_unlabelled_for_a_class_is_an_error(data, plain_model):
    X, y = data
    numbers = pd.factorize(y)[0]
    numbers[:20] = -1
    cv = UnlabeledInTrain(3)
    with pytest.raises(
        ValueError, match=r"knows the label -1.*DropUnlabeled"
    ) as raised:
        evaluate(plain_model, X, numbers, cv=cv)
    assert "fold 0" in raised.value.__notes__[0]
    steps = [("impute", ModalityImputer()), ("drop", DropUnlabeled())]
    model = SamplerPipeline([*steps, ("classify", LogisticRegression())])
    report = evaluate(model, X, numbers, cv=cv, **BARE)
    assert report.facts["classes"] == [0, 1, 2]
    assert "P(0)" in report.predictions


def test_a_class_with_fewer_clips_than_folds_is_an_error(data):
    X, y = data
    y = y.copy()
    y[:2] = "disgust"
    with pytest.raises(
        ValueError, match="Class 'disgust' has 2 clips, fewer than the 3"
    ):
        evaluate(net(), X, y, cv=3)
    with pytest.raises(ValueError, match="has 1 clip, .*Pass more clips"):
        evaluate(net(), X.iloc[1:], y[1:], cv=3)


def test_groups_stay_together_and_are_drawn_together(data, plain_model):
    X, y = data
    speakers = pd.Series(np.arange(90) // 3 % 10, index=X.index)
    report = evaluate(
        plain_model, X, y, cv=3, groups=speakers.sample(frac=1, random_state=0), **BARE
    )
    fold = report.predictions["fold"]
    assert (fold.groupby(speakers).nunique() == 1).all()
    assert report.facts["n_units"] == report.facts["n_groups"] == 10
    assert "20 draws of 10 groups" in report.to_markdown()
    assert report.facts["n_split_groups"] == 0
    assert "flatters" not in report.to_markdown()


def test_folds_that_split_groups_are_told(data, plain_model):
    X, y = data
    # One speaker is tested by folds that know the voice, one has no name
    speakers = pd.Series(np.arange(90) // 30, index=X.index, name="speaker")
    speakers = speakers.map({0: "anna", 1: "ben", 2: "cleo"})
    folds = np.where(speakers == "anna", 0, 1 + (speakers == "cleo"))
    folds[0] = 1
    speakers.iloc[1] = None
    cv = ReferenceFolds(pd.Series(folds, index=X.index))
    report = evaluate(plain_model, X, y, cv=cv, groups=speakers, **BARE)
    assert report.facts["n_split_groups"] == 1
    told = "1 of 3 speakers is in training and in test of a fold: the score flatters"
    short = report.to_markdown().partition("## Scores")[0]
    assert told in short
    splits = list(CV.split(X, y))
    report = evaluate(plain_model, X, y, cv=splits, groups=list(speakers), **BARE)
    assert report.facts["n_split_groups"] == 3
    assert "3 of 3 groups are in training" in report.to_markdown()
    report = evaluate(plain_model, X, y, cv=CV, **BARE)
    assert report.facts["n_split_groups"] is None


def test_what_does_not_fit_x_is_named(data, plain_model):
    X, y = data
    with pytest.raises(ValueError, match="y has 80 values, X has 90 clips"):
        evaluate(plain_model, X, y[:80])
    for groups in (np.arange(80), pd.Series(np.arange(80))):
        rows = X.fillna(0).to_numpy()
        with pytest.raises(ValueError, match="groups has 80 values, X has 90 clips"):
            evaluate(plain_model, rows, y, groups=groups)
    with pytest.raises(ValueError, match="cv must be .* a splitter or .* Got '5'"):
        evaluate(plain_model, X, y, cv="5")


def test_votes_of_networks_have_no_best_epoch(data):
    X, y = data
    vote = VariantVotingClassifier(net(max_epochs=1), variants=[{}, {"hidden_size": 4}])
    report = evaluate(vote, X, y, cv=2, **{**BARE, "literature": True})
    assert report.protocols is None
    assert "a vote of networks, for which one best epoch" in report.to_markdown()


def test_an_estimator_of_others_says_what_cannot_be_had(data):
    X, y = data
    X = X.fillna(0)
    report = evaluate(SVC(), X, y, cv=3, **FAST)
    assert report.scores.loc["WAF", "score"] > 0.5
    assert "no predict_proba" in report.notes["calibration"]
    assert "does not end in a network" in report.notes["literature"]
    assert "SVC" in report.facts["name"]
    assert "refuses clips without audio" in report.notes["robustness"]
    assert "shows no weights" in report.notes["weights"]
    assert set(report.robustness["system"]) == {"concat + LR", "product of LRs"}
    assert report.calibration.index.tolist() == ["concat + LR", "product of LRs"]
    assert "P(sad)" not in report.predictions
    assert "does not end in a network" in report.to_markdown()


def test_arrays_have_no_modalities(data):
    X, y = data
    X = X.fillna(0).to_numpy()
    for rows in (X, X.tolist()):
        report = evaluate(LogisticRegression(), rows, list(y), cv=3, **FAST)
        assert report.references.index.tolist() == ["LogisticRegression", "concat + LR"]
        assert "no names such as audio__0" in report.notes["per_modality"]
        assert report.predictions.index.tolist() == list(range(90))
    with pytest.raises(ValueError, match="two or more are needed"):
        evaluate(LogisticRegression(), X, ["same"] * 90)


class Centred(TransformerMixin, BaseEstimator):
    """A step from clips to features that learns which clips it was fitted on."""

    def fit(self, X, y=None):
        self.n_clips_ = len(X)
        return self

    def transform(self, X):
        sizes = [float(len(path)) + i % 5 for i, path in enumerate(X.index)]
        table = {"audio__size": sizes, "audio__n": float(self.n_clips_)}
        return pd.DataFrame(table, index=X.index)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths, y = [], []
    for number in range(24):
        label = ("happy", "sad")[number % 2]
        low = 0 if label == "sad" else 60
        data = rng.integers(low, low + 190, size=80).astype(np.uint8)
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(b"\0" + data.tobytes())
        paths.append(str(path))
        y.append(label)
    return paths, y


def test_clips_are_encoded_once_and_scored_as_by_cross_validation(files, tmp_path):
    paths, y = files
    encode = ByteHistogramEncoder(log=str(tmp_path / "log"), cache=None)
    model = make_pipeline(ClipTable(), Named(encode), StandardScaler(), net())
    model.set_output(transform="pandas")
    slow = evaluate(model, paths, y, cv=CV, **FAST)
    assert slow.facts["extraction"] is None
    assert len((tmp_path / "log").read_text().splitlines()) > 3 * len(paths)

    (tmp_path / "log").unlink()
    fast = evaluate(
        make_pipeline(
            ClipTable(), in_columns(encode), StandardScaler(), net()
        ).set_output(transform="pandas"),
        paths,
        y,
        cv=CV,
        **FAST,
    )
    assert len((tmp_path / "log").read_text().splitlines()) == len(paths)
    assert fast.facts["extraction"] > 0
    assert "features of all clips" in fast.run_time.index
    pd.testing.assert_frame_equal(fast.predictions, slow.predictions)
    pd.testing.assert_frame_equal(fast.references, slow.references)
    predicted = cross_val_predict(model, paths, y, cv=CV)
    assert fast.predictions["predicted"].tolist() == predicted.tolist()
    assert fast.predictions.index.tolist() == paths


def test_a_recipe_on_video_files(small_clips):
    model = make_mertools_attention(sidecar_text=True, random_state=0)
    rows = np.arange(6)
    cv = [(rows[rows % 2 != fold], rows[rows % 2 == fold]) for fold in range(2)]
    paths, y = small_clips.paths, small_clips.target
    report = evaluate(model, paths, y, cv=cv, n_bootstraps=0)
    predicted = cross_val_predict(model, paths, y, cv=cv)
    assert report.predictions["predicted"].tolist() == predicted.tolist()
    assert report.facts["modalities"] == ["audio", "video", "text"]
    assert report.weights.columns.tolist() == ["audio", "text", "video"]
    assert report.facts["extraction"] > 0 and not report.notes
    assert len(report.robustness) == 3 * 7
    assert "features of all clips" in report.to_markdown()


def in_columns(encoder):
    return ColumnTransformer([("video", encoder, "video")])


class Named(TransformerMixin, BaseEstimator):
    """The same features by a step that scikit-learn takes for one that learns."""

    def __init__(self, encoder):
        self.encoder = encoder

    def fit(self, X, y=None):
        self.inner_ = in_columns(self.encoder).set_output(transform="pandas").fit(X)
        return self

    def transform(self, X):
        return self.inner_.transform(X)

    def get_feature_names_out(self, input_features=None):
        return self.inner_.get_feature_names_out()


def test_a_step_that_learns_is_fitted_in_each_fold(files):
    paths, y = files
    X = pd.DataFrame({"video": paths}, index=paths)
    seen = []

    class Watching(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append((X["audio__n"].iloc[0], len(X)))
            return super().fit(X, y, sample_weight)

    model = make_pipeline(ClipTable(), Centred(), Watching())
    report = evaluate(model, X, y, cv=CV, **FAST)
    assert seen == [(16.0, 16)] * 3
    assert report.references is not None
    assert report.facts["modalities"] == ["audio"]


def test_a_search_is_nested(data):
    X, y = data
    search = GridSearchCV(net(), {"lr": [1e-2, 1e-5]}, cv=2)
    report = evaluate(search, X, y, cv=CV, **{**BARE, "literature": True})
    predicted = cross_val_predict(search, X, y, cv=CV)
    assert report.predictions["predicted"].tolist() == predicted.tolist()
    assert report.facts["name"] == "GridSearchCV(AttentionFusionClassifier)"
    assert report.weights.columns.tolist() == ["audio", "text", "video"]
    assert "does not end in a network" in report.notes["literature"]


def test_sequences_are_averaged_for_the_references():
    rng = np.random.default_rng(0)
    y = np.tile(["happy", "sad"], 15)
    table = {}
    for name in ("audio__frames", "text__frames"):
        cells = np.empty(30, dtype=object)
        for i in range(30):
            steps = rng.normal(size=(rng.integers(2, 5), 3))
            cells[i] = (steps + 1.5 * (y[i] == "sad")).astype(np.float32)
        table[name] = cells
    table["text__frames"][0] = None
    X = pd.DataFrame(table, index=[f"c{i}" for i in range(30)])
    model = CrossAttentionFusionClassifier(max_epochs=2, hidden_size=8, random_state=0)
    report = evaluate(model, X, y, cv=2, **FAST)
    means = {
        f"{name}__{k}": [np.nan if c is None else c[:, k].mean() for c in X[name]]
        for name in X
        for k in range(3)
    }
    means = pd.DataFrame(means, index=X.index)
    predicted = cross_val_predict(
        by_hand()["concat + LR"], means, y, cv=list(report.folds.split(X, y))
    )
    expected = f1_score(y, predicted, average="weighted")
    assert report.references.loc["concat + LR", "WAF"] == pytest.approx(expected)
    own = report.robustness[report.robustness["system"] == report.facts["name"]]
    assert own["missing"].tolist() == ["nothing", "audio", "text"]


def test_a_stream_that_no_test_clip_has_is_missing_for_the_references():
    rng = np.random.default_rng(0)
    y = np.tile(["happy", "sad"], 15)
    table = {}
    for name in ("audio__frames", "text__frames"):
        table[name] = np.empty(30, dtype=object)
        table[name][:] = list(rng.normal(size=(30, 4, 3)).astype(np.float32))
    table["text__frames"][:10] = None
    X = pd.DataFrame(table, index=[f"c{i}" for i in range(30)])
    rows = np.arange(30)
    cv = [(rows[10:], rows[:10]), (rows[:20], rows[20:])]
    model = CrossAttentionFusionClassifier(max_epochs=1, hidden_size=8, random_state=0)
    report = evaluate(model, X, y, cv=cv, **FAST)
    means = pd.DataFrame(
        {
            f"{name}__{k}": [np.nan if c is None else c[:, k].mean() for c in X[name]]
            for name in X
            for k in range(3)
        },
        index=X.index,
    )
    for name, reference in by_hand().items():
        said = [
            reference.fit(means.iloc[train], y[train]).predict(means.iloc[test])
            for train, test in cv
        ]
        true = np.concatenate([y[test] for _, test in cv])
        expected = f1_score(true, np.concatenate(said), average="weighted")
        assert report.references.loc[name, "WAF"] == pytest.approx(expected)


def test_weights_go_by_the_names_of_streams(data):
    """Folds may have other streams, where columns are selected."""
    _, y = data
    rng = np.random.default_rng(0)
    columns = ["audio__0", "video__0", "text__0"]
    X = pd.DataFrame(rng.normal(size=(90, 3)), columns=columns)
    X["audio__0"] += 3 * (y == "sad")
    X.loc[:44, "video__0"] += 3 * (y[:45] == "happy")
    X.loc[45:, "text__0"] += 3 * (y[45:] == "happy")
    rows = np.arange(90)
    cv = [(rows[:45], rows[45:]), (rows[45:], rows[:45])]
    model = Pipeline([("select", SelectKBest(k=2)), ("net", net())])
    model.set_output(transform="pandas")
    found = evaluate(model, X, y, cv=cv, **BARE).weights
    sums, n_rows = dict.fromkeys(("audio", "video", "text"), 0.0), {}
    for train, test in cv:
        fitted = clone(model).fit(X.iloc[train], y[train])
        part = X.iloc[test, fitted["select"].get_support(indices=True)]
        said = fitted["net"].modality_weights(part, normalize=True)
        for stream in said:
            sums[stream] += said[stream].sum()
            n_rows[stream] = n_rows.get(stream, 0) + (said[stream] != 0).sum()
    assert len(n_rows) == 3
    assert set(found.columns) == set(sums)
    for stream in sums:
        expected = sums[stream] / n_rows[stream]
        assert found.loc["all clips", stream] == pytest.approx(expected)


def test_groups_of_other_clips_are_an_error(data, plain_model):
    X, y = data
    groups = pd.Series(np.arange(90) // 9)
    for cv in (3, StratifiedGroupKFold(3), list(CV.split(X, y))):
        with pytest.raises(ValueError, match="groups has no value for clip"):
            evaluate(plain_model, X, y, cv=cv, groups=groups, **BARE)


def test_minus_one_and_one_are_classes_beside_unlabelled_clips(data, plain_model):
    X, y = data
    signs = np.where(y == "sad", 1.0, -1.0)
    some = np.where(np.arange(90) % 3 == 0, np.nan, signs)
    known = ~np.isnan(some)
    model = SamplerPipeline([("drop", DropUnlabeled()), ("model", plain_model)])
    report = evaluate(model, X, some, cv=UnlabeledInTrain(CV), **BARE)
    bare = evaluate(plain_model, X[known], signs[known], cv=CV, **BARE)
    assert report.scores.loc["WAF", "score"] == bare.scores.loc["WAF", "score"]


def test_repeats_use_other_seeds_and_are_averaged(data, of_net):
    report = evaluate(net(), *data, cv=CV, n_repeats=2, **BARE)
    first = report.predictions[report.predictions["repeat"] == 0]
    pd.testing.assert_frame_equal(first, of_net.predictions)
    second = report.predictions[report.predictions["repeat"] == 1]
    assert not np.array_equal(first["P(sad)"], second["P(sad)"])
    wafs = [
        f1_score(part["true"], part["predicted"], average="weighted")
        for part in (first, second)
    ]
    assert report.scores.loc["WAF", "score"] == pytest.approx(np.mean(wafs))
    assert report.scores.loc["WAF", "repeat_std"] > 0
    assert report.confusion.to_numpy().sum() == pytest.approx(90)
    assert "spread over seeds" in report.to_markdown()


def test_a_model_without_seed_is_repeatable_and_global_seeds_stay(data):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (
        evaluate(net(random_state=None), *data, cv=CV, random_state=3, **BARE)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_folds_side_by_side_give_the_same(data, of_net):
    with parallel_config(backend="threading", n_jobs=2):
        report = evaluate(net(), *data, cv=CV, fit_alone=True, **FAST)
    for name in (
        "predictions",
        "references",
        "robustness",
        "per_modality",
        "protocols",
    ):
        pd.testing.assert_frame_equal(getattr(report, name), getattr(of_net, name))


def test_splits_that_are_no_folds(data, plain_model):
    X, y = data
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    report = evaluate(plain_model, X, y, cv=cv, **BARE)
    assert report.folds is None
    assert len(report.predictions) == 180
    assert report.facts["n_units"] == 90
    assert "not kept" in report.to_markdown()
    given = [(np.arange(90) >= 30, np.arange(90) < 30)]
    report = evaluate(plain_model, X, y, cv=given, **BARE)
    assert report.predictions.index.tolist() == X.index[:30].tolist()


def test_named_folds_keep_their_names(data, plain_model, tmp_path):
    X, y = data
    part = np.where(np.arange(90) < 30, "test", "train")
    cv = ReferenceFolds(pd.Series(part, index=X.index), test="test", train="train")
    report = evaluate(plain_model, X, y, cv=cv, **BARE)
    assert report.fold_scores["fold"].tolist() == ["test"]
    report.save(tmp_path / "r")
    again = ReferenceFolds.read(tmp_path / "r" / "folds.csv")
    assert again.test == ["test"]
    # An array is in the order of the folds
    report = evaluate(plain_model, X.to_numpy(), y, cv=cv, **BARE)
    assert len(report.predictions) == 30


def test_folds_that_cannot_be_scored_are_errors(data, plain_model):
    X, y = data
    rows = np.arange(90)
    twice = X.copy()
    twice.index = [*X.index[:89], X.index[0]]
    with pytest.raises(ValueError, match="trains on clip 'clip0.mp4' and tests it"):
        evaluate(plain_model, twice, y, cv=[(rows[30:], rows[:30])])
    with pytest.raises(ValueError, match="one class only"):
        evaluate(plain_model, X, y, cv=[(rows[::3], rows[1::3])])
    some = y.copy()
    some[:30] = None
    with pytest.raises(ValueError, match="no labelled clip to test"):
        evaluate(plain_model, X, some, cv=[(rows[30:], rows[:30])])


def test_y_is_read_by_clip_id(data, plain_model):
    X, y = data
    shuffled = pd.Series(y, index=X.index).sample(frac=1, random_state=0)
    by_id = evaluate(plain_model, X, shuffled, cv=CV, **BARE)
    by_order = evaluate(plain_model, X, pd.Series(y), cv=CV, **BARE)
    pd.testing.assert_frame_equal(by_id.predictions, by_order.predictions)
    other = pd.Series(y, index=[*X.index[:89], "other"])
    with pytest.raises(ValueError, match="knows some clips of X and not others"):
        evaluate(plain_model, X, other, cv=CV)


class Guess(ClassifierMixin, BaseEstimator):
    """Says what is written in a column."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[X["cheat__0"].to_numpy().astype(int)]


def test_the_verdict_goes_by_the_paired_interval():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    X = pd.DataFrame({"audio__0": rng.normal(size=200), "cheat__0": y.astype(float)})
    X["cheat__0"] = np.where(rng.random(200) < 0.95, y, 1.0 - y)
    good = evaluate(Guess(), X, y, cv=2, n_bootstraps=200)
    bad = evaluate(
        Guess(), X.assign(cheat__0=1.0 - X["cheat__0"]), y, cv=2, n_bootstraps=200
    )
    # The references learn to read that column as well
    assert set(good.references["verdict"][1:]) == {"level"}
    assert "is not shown to clear concat + LR" in good.to_markdown()
    assert set(bad.references["verdict"][1:]) == {"reference better"}
    assert "does not clear product of LRs" in bad.to_markdown()


class Xor(Guess):
    """Says whether two columns have the same sign, which no plain reference can."""

    def predict(self, X):
        same = (X["audio__0"] > 0) == (X["text__0"] > 0)
        return self.classes_[same.to_numpy().astype(int)]


def test_a_model_that_clears_the_references_is_told_so():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 2)), columns=["audio__0", "text__0"])
    y = ((X["audio__0"] > 0) == (X["text__0"] > 0)).to_numpy()
    y = np.where(rng.random(200) < 0.9, y, ~y)
    report = evaluate(Xor(), X, y, cv=2, n_bootstraps=200)
    assert set(report.references["verdict"][1:]) == {"model better"}
    row = report.references.loc["concat + LR"]
    own = report.scores.loc["WAF", "score"]
    assert row["gain"] == pytest.approx(own - row["WAF"])
    assert 0 < row["gain_low"] < row["gain"] < row["gain_high"]
    assert "Xor clears concat + LR" in report.to_markdown()
    assert "worth more than" not in report.to_markdown()
    without = evaluate(Xor(), X, y, cv=2, n_bootstraps=0)
    assert without.references["verdict"].iloc[1] == "no interval"
    assert "may be by chance" in without.to_markdown()
