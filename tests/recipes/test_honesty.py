"""The recipe as scikit-learn runs it: nothing leaks, nothing depends on company."""

import copy

import joblib
import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import StandardScaler

from skmer.clips import ClipTable
from skmer.encoders import AcousticEncoder, TextEncoder, VisualEncoder
from skmer.fusion import AttentionFusionClassifier
from skmer.preprocessing import ModalityImputer
from skmer.recipes import make_mertools_attention


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("features"))


@pytest.fixture
def model(cache):
    recipe = make_mertools_attention(sidecar_text=True, cache=cache, random_state=0)
    return recipe.set_params(fuse__max_epochs=3, encode__video__n_frames=3)


@pytest.fixture
def labels(small_clips):
    return np.resize(["sad", "glad"], len(small_clips.paths))


def _fitted_arrays(model):
    """Return every number that a fitted recipe holds, by place."""
    scale, fuse = model.named_steps["scale"], model.named_steps["fuse"]
    arrays = {
        "mean": scale.mean_,
        "scale": scale.scale_,
        "prior": fuse.class_prior_,
        **{k: v.numpy() for k, v in fuse.module_.state_dict().items()},
    }
    return copy.deepcopy(arrays)


def test_test_rows_leave_everything_fitted_as_it_is(model, small_clips, labels):
    """Other test clips and other test labels: the fold's model must not notice."""
    paths = list(small_clips.paths)
    n = len(paths)
    train, test = np.arange(n // 2), np.arange(n // 2, n)
    seen = {}

    class Spy:
        """Splits once, and keeps what the fold's model had learnt."""

        def __call__(self, estimator, X, y):
            seen["arrays"] = _fitted_arrays(estimator)
            return 0.0

    def learnt(X, y):
        grid = GridSearchCV(model, {}, cv=[(train, test)], scoring=Spy(), refit=False)
        grid.fit(X, y)
        return seen.pop("arrays")

    one = learnt(paths, labels)
    other_clips = paths[: n // 2] + paths[: n - n // 2][::-1]
    other_labels = labels.copy()
    other_labels[test] = np.where(labels[test] == "sad", "glad", "sad")
    two = learnt(other_clips, other_labels)
    assert one.keys() == two.keys() and len(one) > 10
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    # The check sees what it ought to: other training labels do change the model.
    flipped = labels.copy()
    flipped[train] = np.where(labels[train] == "sad", "glad", "sad")
    changed = learnt(paths, flipped)
    assert any((one[name] != changed[name]).any() for name in one)


def test_a_prediction_depends_on_its_clip_alone(model, small_clips, labels):
    paths = small_clips.paths
    model.fit(paths, labels)
    expected = model.predict_proba(paths)
    backwards = model.predict_proba(paths[::-1])[::-1]
    np.testing.assert_allclose(backwards, expected, rtol=1e-5)
    alone = np.concatenate([model.predict_proba([path]) for path in paths])
    np.testing.assert_allclose(alone, expected, rtol=1e-5)
    twice = model.predict_proba([*paths, paths[0]])
    np.testing.assert_allclose(twice, expected[[*range(len(paths)), 0]], rtol=1e-5)


def test_workers_caches_and_batches_do_not_change_the_model(
    model, small_clips, labels, tmp_path, warm_workers
):
    paths = small_clips.paths
    expected = model.fit(paths, labels).predict_proba(paths)
    for n_jobs, batch_size, cache in ((2, 1, tmp_path), (1, 3, None)):
        for name in ("audio", "video", "text"):
            model.set_params(
                **{
                    f"encode__{name}__n_jobs": n_jobs,
                    f"encode__{name}__batch_size": batch_size,
                    f"encode__{name}__cache": cache,
                }
            )
        other = model.fit(paths, labels).predict_proba(paths)
        np.testing.assert_allclose(other, expected, rtol=1e-4)


def test_clips_that_come_twice_keep_their_rows(model, small_clips, labels):
    paths = small_clips.paths
    frame = model[:-1].fit_transform([*paths, *paths], np.tile(labels, 2))
    assert list(frame.index) == [*paths, *paths]
    half = len(paths)
    pd.testing.assert_frame_equal(frame.iloc[:half], frame.iloc[half:])


def test_a_grid_over_encoders_and_net_on_paths_in_processes(
    model, small_clips, labels, warm_workers
):
    grid = {
        "encode__text__n_features": [16, 32],
        "fuse__hidden_size": [4, 8],
    }
    scores = []
    for n_jobs in (None, 2):
        search = GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, error_score="raise")
        search.fit(small_clips.paths, labels)
        scores.append(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        probabilities = [
            cross_val_predict(
                model, small_clips.paths, labels, cv=2, method="predict_proba", n_jobs=n
            )
            for n in (1, 2)
        ]
    np.testing.assert_array_equal(*probabilities)


def test_a_union_of_encoders_behind_other_peoples_steps(small_clips, labels, cache):
    union = FeatureUnion(
        [
            ("audio", AcousticEncoder(cache=cache)),
            ("video", VisualEncoder(regions=["frame"], n_frames=3, cache=cache)),
            ("text", TextEncoder(n_features=64, cache=cache)),
        ]
    )
    model = Pipeline(
        [
            ("clips", ClipTable(sidecar_text=True)),
            ("encode", union),
            ("impute", ModalityImputer()),
            ("scale", StandardScaler()),
            ("select", SelectKBest(_spread, k=400)),
            ("balance", RandomOverSampler(random_state=0)),
            ("fuse", AttentionFusionClassifier(max_epochs=2, random_state=0)),
        ]
    ).set_output(transform="pandas")
    y = np.where(np.arange(len(labels)) < 2, "sad", "glad")
    model.fit(small_clips.paths, y)
    assert set(model[-1].streams_) <= {"audio", "video__frame", "text"}
    assert sum(map(len, model[-1].streams_.values())) == 400
    np.testing.assert_allclose(model[-1].class_prior_, 0.5)
    assert model.predict(small_clips.paths).shape == y.shape


def _spread(X, y):
    return np.asarray(X).std(axis=0) + np.arange(X.shape[1]) % 7


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: CalibratedClassifierCV(net, cv=2),
        lambda net: VotingClassifier([("a", net), ("b", net)], voting="soft"),
        lambda net: StackingClassifier(
            [("a", net)], final_estimator=LogisticRegression(), cv=2
        ),
    ],
    ids=["calibrated", "voting", "stacking"],
)
def test_meta_estimators_keep_names_and_missing_streams(wrap):
    rng = np.random.default_rng(0)
    y = np.tile(["glad", "sad"], 40)
    X = pd.DataFrame(
        rng.normal(size=(80, 6)) + 2 * (y == "sad")[:, None],
        columns=[f"{m}__{i}" for m in ("audio", "text") for i in range(3)],
    )
    X.iloc[:6, :3] = np.nan
    net = AttentionFusionClassifier(
        streams=["audio", "text"], max_epochs=15, random_state=0
    )
    model = wrap(net).fit(X, y)
    assert list(model.classes_) == ["glad", "sad"]
    assert model.score(X, y) > 0.9
