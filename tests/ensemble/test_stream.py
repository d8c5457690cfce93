import pickle

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from leaks import changed_rows, differences
from scipy import sparse
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmer.encoders import AcousticEncoder, TextEncoder
from skmer.ensemble import StreamVotingClassifier
from skmer.exceptions import MissingStreamError
from skmer.fusion import AttentionFusionClassifier, CrossAttentionFusionClassifier
from skmer.preprocessing import ModalityImputer
from skmer.utils import as_object_column

LR = LogisticRegression()
NAMES = ["audio__0", "audio__1", "video__face__0", "video__face__1", "video__frame__0"]
CLASSES = np.array(["angry", "happy", "sad"])
# X without names as one stream, which is what it is told to be
EVERYTHING = {"all": slice(None)}


def make(n=90, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    values = noise * rng.normal(size=(n, 5))
    values[:, [0, 2, 4]] += codes[:, None]
    values[:, [1, 3]] += (codes == 1)[:, None]
    index = [f"c{i}" for i in range(n)]
    return pd.DataFrame(values, columns=NAMES, index=index), CLASSES[codes]


@pytest.fixture
def clips():
    return make()


def by_hand(X, y, groups, estimator=LR):
    return [clone(estimator).fit(X[g], y).predict_proba(X[g]) for g in groups]


def test_product_and_mean_of_modalities(clips):
    X, y = clips
    parts = by_hand(X, y, [NAMES[:2], NAMES[2:]])
    product = np.prod(parts, axis=0)
    product /= product.sum(axis=1, keepdims=True)
    vote = StreamVotingClassifier(LR).fit(X, y)
    assert list(vote.streams_) == ["audio", "video"]
    np.testing.assert_allclose(vote.predict_proba(X), product)
    assert (vote.predict(X) == CLASSES[product.argmax(axis=1)]).all()
    vote.set_params(combine="mean").fit(X, y)
    np.testing.assert_allclose(vote.predict_proba(X), np.mean(parts, axis=0))


def test_streams_by_name_by_slice_and_by_stream(clips):
    X, y = clips
    vote = StreamVotingClassifier(LR, by="stream").fit(X, y)
    assert list(vote.estimators_) == ["audio", "video__face", "video__frame"]
    face = vote.estimators_["video__face"]
    assert face.feature_names_in_.tolist() == NAMES[2:4]
    some = StreamVotingClassifier(LR, streams=["video", "audio"]).fit(X, y)
    assert list(some.streams_) == ["video", "audio"]
    whole = StreamVotingClassifier(LR).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(some.predict_proba(X), whole)
    slices = {"audio": slice(0, 2), "video": [2, 3, 4]}
    plain = StreamVotingClassifier(LR, streams=slices).fit(X.to_numpy(), y)
    np.testing.assert_allclose(plain.predict_proba(X.to_numpy()), whole)
    one = StreamVotingClassifier(LR, streams=EVERYTHING).fit(X.to_numpy(), y)
    assert list(one.streams_) == ["all"]
    with pytest.raises(MissingStreamError, match="no stream 'text'"):
        StreamVotingClassifier(LR, streams=["text"]).fit(X, y)
    with pytest.warns(UserWarning, match="get a member of their own, 'all': age"):
        StreamVotingClassifier(LR).fit(X.assign(age=1.0), y)


def test_own_estimators_and_fused(clips):
    X, y = clips
    own = {"audio": GaussianNB(), "video": make_pipeline(StandardScaler(), LR)}
    vote = StreamVotingClassifier(own, fused=LR).fit(X, y)
    assert list(vote.estimators_) == ["audio", "video", "fused"]
    assert isinstance(vote.estimators_["audio"], GaussianNB)
    parts = by_hand(X, y, [NAMES[:2]], own["audio"])
    parts += by_hand(X, y, [NAMES[2:]], own["video"]) + by_hand(X, y, [NAMES])
    logs = np.log(parts).sum(axis=0)
    np.testing.assert_allclose(vote.predict_proba(X), softmax(logs, axis=1))
    assert not hasattr(own["audio"], "classes_")
    # Columns of no stream are not for fused either.
    part = StreamVotingClassifier(LR, streams=["audio"], fused=LR).fit(X, y)
    assert part.estimators_["fused"].feature_names_in_.tolist() == NAMES[:2]


@pytest.mark.parametrize("combine", ["product", "mean"])
def test_weights(clips, combine):
    X, y = clips
    parts = np.array(by_hand(X, y, [NAMES[:2], NAMES[2:]]))
    vote = StreamVotingClassifier(LR, combine=combine, weights={"video": 3, "audio": 1})
    found = vote.fit(X, y).predict_proba(X)
    if combine == "mean":
        expected = (parts[0] + 3 * parts[1]) / 4
    else:
        expected = softmax(np.log(parts[0]) + 3 * np.log(parts[1]), axis=1)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(
        vote.set_params(weights=[1, 3]).fit(X, y).predict_proba(X), found
    )
    alone = vote.set_params(weights=[0, 2], combine="mean").fit(X, y)
    np.testing.assert_allclose(alone.predict_proba(X), parts[1])


def test_a_clip_without_a_stream(clips):
    X, y = clips
    X = X.copy()
    X.iloc[:10, :2] = np.nan
    X.iloc[5:15, 2:] = np.nan
    X.iloc[20, 3] = np.nan
    with pytest.warns(UserWarning, match="1 of 90 in 'video'"):
        vote = StreamVotingClassifier(LR).fit(X, y)
    audio = np.r_[10:90]
    video = np.r_[0:5, 15:20, 21:90]
    expected = clone(LR).fit(X.iloc[audio, :2], y[audio])
    assert not differences(vote.estimators_["audio"], expected)
    expected = clone(LR).fit(X.iloc[video, 2:], y[video])
    assert not differences(vote.estimators_["video"], expected)
    found = vote.predict_proba(X)
    alone = vote.stream_proba(X)
    np.testing.assert_allclose(found[:5], alone["video"].iloc[:5])
    np.testing.assert_allclose(found[5:10], np.tile(vote.class_prior_, (5, 1)))
    np.testing.assert_allclose(found[10:15], alone["audio"].iloc[10:15])
    np.testing.assert_allclose(found[20], alone["audio"].iloc[20])
    np.testing.assert_allclose(vote.class_prior_, [1 / 3] * 3)
    nothing = vote.predict_proba(X.iloc[5:7])
    np.testing.assert_allclose(nothing, 1 / 3)


def test_members_that_cope_with_missing_values_may_have_them(clips):
    X, y = clips
    X = X.copy()
    X.iloc[:10, 4] = np.nan
    X.iloc[10:20, 2:] = np.nan
    filled = make_pipeline(ModalityImputer(), LR)
    vote = StreamVotingClassifier(filled, fused=filled, missing="all").fit(X, y)
    rows = np.r_[0:10, 20:90]
    expected = clone(filled).fit(X.iloc[rows, 2:], y[rows])
    assert not differences(vote.estimators_["video"], expected)
    assert not differences(vote.estimators_["fused"], clone(filled).fit(X, y))
    assert vote.stream_proba(X)["video"].isna().any(axis=1).sum() == 10
    assert not vote.stream_proba(X)["fused"].isna().any(axis=None)
    with pytest.warns(UserWarning, match="10 of 90 in 'video'"):
        strict = StreamVotingClassifier(filled, fused=filled).fit(X, y)
    whole = np.r_[20:90]
    expected = clone(filled).fit(X.iloc[whole], y[whole])
    assert not differences(strict.estimators_["fused"], expected)


def test_infinite_values_are_not_missing_ones():
    values = np.array([[np.inf, -np.inf], [np.nan, 1.0], [1.0, 1.0]])

    class Keep(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            self.seen_ = X
            return self

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

        def predict(self, X):
            return self.classes_[[0] * len(X)]

    vote = StreamVotingClassifier(Keep(), streams=EVERYTHING)
    with pytest.warns(UserWarning, match="1 of 3 in 'all'"):
        vote.fit(values, ["a", "b", "b"])
    np.testing.assert_array_equal(vote.estimators_["all"].seen_, values[[0, 2]])


def test_unlabelled_rows_are_left_out(clips):
    X, y = clips
    y = y.astype(object)
    y[::3] = None
    vote = StreamVotingClassifier(LR).fit(X, y)
    rows = np.flatnonzero([label is not None for label in y])
    again = StreamVotingClassifier(LR).fit(X.iloc[rows], y[rows])
    assert not differences(vote, again)
    assert vote.classes_.tolist() == ["happy", "sad"]
    assert vote.score(X, y) == again.score(X.iloc[rows], y[rows])
    with pytest.raises(ValueError, match="None of the 90 rows"):
        vote.score(X, np.full(90, None))
    with pytest.raises(ValueError, match="0 of 90 rows have a label"):
        StreamVotingClassifier(LR).fit(X, np.full(90, None))


def test_a_class_that_a_member_has_not_seen(clips):
    X, y = clips
    X = X.copy()
    X.loc[y == "sad", ["audio__0", "audio__1"]] = np.nan
    seen = y != "sad"
    X_new, _ = make(seed=5)
    for divide in (False, True):
        vote = StreamVotingClassifier(LR, divide_prior=divide).fit(X, y)
        member = vote.estimators_["audio"]
        assert member.classes_.tolist() == ["angry", "happy"]
        own = clone(LR).fit(X.loc[seen, NAMES[:2]], y[seen])
        audio = np.c_[own.predict_proba(X_new[NAMES[:2]]) * 2 / 3, np.full(90, 1 / 3)]
        np.testing.assert_allclose(vote.stream_proba(X_new)["audio"], audio)
        video = vote.stream_proba(X_new)["video"].to_numpy()
        expected = audio * video / audio.__mul__(video).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(vote.predict_proba(X_new), expected)


def test_a_stream_of_one_class_has_no_say(clips):
    X, y = clips
    X = X.copy()
    X.loc[y != "sad", ["audio__0", "audio__1"]] = np.nan
    with pytest.warns(UserWarning, match="stream 'audio' are all 'sad'"):
        vote = StreamVotingClassifier(LR).fit(X, y)
    assert list(vote.estimators_) == ["video"]
    expected = clone(LR).fit(X[NAMES[2:]], y).predict_proba(X[NAMES[2:]])
    np.testing.assert_allclose(vote.predict_proba(X), expected)
    X.loc[y == "sad", NAMES[2:]] = np.nan
    X.loc[y == "happy", NAMES[2:]] = np.nan
    with (
        pytest.warns(UserWarning, match="has no say"),
        pytest.raises(ValueError, match="No stream has labelled rows of two classes"),
    ):
        StreamVotingClassifier(LR).fit(X, y)


def test_sequences():
    rng = np.random.default_rng(0)
    y = CLASSES[np.arange(48) % 3]
    cells = [rng.normal(size=(4 + i % 3, 3)) + 3 * (i % 3) for i in range(48)]
    cells[0] = None
    cells[1] = np.zeros((0, 3))
    X = pd.DataFrame(
        {
            "audio__frames": as_object_column(cells),
            "text__0": rng.normal(size=48) + np.arange(48) % 3,
        }
    )

    net = CrossAttentionFusionClassifier(hidden_size=8, max_epochs=2, random_state=0)
    vote = StreamVotingClassifier({"audio": net, "text": LR}).fit(X, y)
    alone = clone(net).fit(X[["audio__frames"]].iloc[2:], y[2:])
    expected = alone.predict_proba(X[["audio__frames"]].iloc[2:])
    said = vote.stream_proba(X)
    np.testing.assert_allclose(said["audio"].iloc[2:], expected, atol=1e-6)
    assert said["audio"].iloc[:2].isna().all(axis=None)
    np.testing.assert_allclose(vote.predict_proba(X)[:2], said["text"].iloc[:2])
    assert vote.predict(X).shape == (48,)
    # An object array without names is as good.
    streams = {"audio": [0], "text": [1]}
    plain = clone(vote).set_params(streams=streams).fit(X.to_numpy(), y)
    np.testing.assert_allclose(plain.predict_proba(X.to_numpy()), vote.predict_proba(X))


def one_column(frame):
    return frame.iloc[:, 0]


def test_cells_of_words_and_sparse_features(clips):
    _, y = clips
    words = pd.DataFrame({"text": [f"so {label} today" for label in y], "id": "x"})
    words.loc[3, "text"] = None
    read = make_pipeline(
        FunctionTransformer(one_column), HashingVectorizer(n_features=64), LR
    )
    vote = StreamVotingClassifier(read, streams={"words": ["text"]}).fit(words, y)
    assert vote.score(words.drop(index=3), np.delete(y, 3)) == 1.0
    np.testing.assert_allclose(vote.predict_proba(words)[3], vote.class_prior_)
    X = sparse.random(90, 20, density=0.3, random_state=0, format="coo")
    halves = {"a": slice(0, 10), "b": slice(10, 20)}
    one = StreamVotingClassifier(LR, streams=halves).fit(X, y).predict_proba(X)
    dense = X.toarray()
    other = StreamVotingClassifier(LR, streams=halves).fit(dense, y)
    np.testing.assert_allclose(one, other.predict_proba(dense), atol=1e-6)


def test_agreement(clips):
    X, y = clips
    X = X.copy()
    X.iloc[0, :2] = np.nan
    X.iloc[1] = np.nan
    vote = StreamVotingClassifier(LR, weights={"audio": 1, "video": 2}).fit(X, y)
    said, label = vote.stream_proba(X), vote.predict(X)
    own = {
        name: part.idxmax(axis=1, skipna=True)
        for name, part in ((n, p.fillna(-1)) for n, p in said.items())
    }
    found = vote.agreement(X)
    assert found.index.equals(X.index)
    assert found.iloc[0] == 1.0
    assert np.isnan(found.iloc[1])
    expected = ((own["audio"] == label) + 2 * (own["video"] == label)) / 3
    np.testing.assert_allclose(found.iloc[2:], expected.iloc[2:])
    assert {0.333, 0.667, 1.0} <= set(np.round(found.iloc[2:], 3))
    vote.set_params(weights=None, streams={"a": [0, 1], "b": [2, 3, 4]})
    vote.fit(X.to_numpy(), y)
    assert isinstance(vote.agreement(X.to_numpy()), np.ndarray)


def test_sample_weight_reaches_every_member(clips):
    X, y = clips
    weight = np.random.default_rng(0).integers(0, 3, size=90)
    pipe = make_pipeline(StandardScaler(), make_pipeline(LR))
    for estimator in (LR, make_pipeline(LR)):
        vote = StreamVotingClassifier(estimator, fused=LR).fit(X, y, weight)
        rows = np.repeat(np.arange(90), weight)
        again = StreamVotingClassifier(estimator, fused=LR).fit(X.iloc[rows], y[rows])
        np.testing.assert_allclose(
            vote.predict_proba(X), again.predict_proba(X), atol=1e-4
        )
        np.testing.assert_allclose(vote.class_prior_, again.class_prior_)
    even = StreamVotingClassifier(pipe).fit(X, y).predict_proba(X)[:, 2].mean()
    heavy = StreamVotingClassifier(pipe).fit(X, y, np.where(y == "sad", 9.0, 1.0))
    assert heavy.predict_proba(X)[:, 2].mean() > even + 0.05
    y = y.astype(object)
    y[:30] = None
    with pytest.raises(ValueError, match="a weight above zero; 60 of 90"):
        StreamVotingClassifier(LR).fit(X, y, np.arange(90) < 30)


def test_networks_and_the_batch(clips):
    X, y = clips
    X = X.astype(np.float32)
    X.iloc[:5, :2] = np.nan
    net = AttentionFusionClassifier(hidden_size=8, max_epochs=2, random_state=0)
    for estimator, fused in ((LR, LR), (net, net)):
        vote = StreamVotingClassifier(estimator, fused=fused, missing="any").fit(X, y)
        whole = vote.predict_proba(X)
        np.testing.assert_allclose(vote.predict_proba(X[::-1])[::-1], whole, atol=1e-6)
        one = [vote.predict_proba(X.iloc[[i]])[0] for i in range(20)]
        np.testing.assert_allclose(one, whole[:20], atol=1e-6)
        parts = [vote.agreement(X.iloc[:7]), vote.agreement(X.iloc[7:])]
        np.testing.assert_allclose(pd.concat(parts), vote.agreement(X))
    copes = StreamVotingClassifier(LR, fused=net, missing="all").fit(X, y)
    assert not copes.stream_proba(X)["fused"].isna().any(axis=None)


def test_independent_streams_are_worth_more_together():
    X, y = make(600, noise=1.3)
    learn, rest = slice(0, 200), slice(200, None)
    vote = StreamVotingClassifier(LR).fit(X[learn], y[learn])
    product = vote.predict(X[rest])
    singles = [part.idxmax(axis=1) for part in vote.stream_proba(X[rest]).values()]
    best = max(f1_score(y[rest], p, average="weighted") for p in singles)
    assert f1_score(y[rest], product, average="weighted") > best + 0.03
    mean = clone(vote).set_params(combine="mean").fit(X[learn], y[learn])
    losses = [log_loss(y[rest], v.predict_proba(X[rest])) for v in (vote, mean)]
    assert losses[0] < losses[1]


def test_dividing_by_the_prior_is_bayes_rule_for_independent_streams():
    rng = np.random.default_rng(0)
    y = (rng.random(6000) < 0.1).astype(int)
    X = pd.DataFrame(rng.normal(size=(6000, 3)) + y[:, None])
    X.columns = ["audio__0", "text__0", "video__0"]
    plain = StreamVotingClassifier(LR).fit(X, y)
    bayes = StreamVotingClassifier(LR, divide_prior=True).fit(X, y)
    # Log odds of a sum of three normal evidences and one prior.
    odds = X.sum(axis=1) - 1.5 + np.log(0.1 / 0.9)
    truth = 1 / (1 + np.exp(-odds))
    assert np.abs(bayes.predict_proba(X)[:, 1] - truth).mean() < 0.01
    assert np.abs(plain.predict_proba(X)[:, 1] - truth).mean() > 0.03
    assert f1_score(y, bayes.predict(X)) > f1_score(y, plain.predict(X)) + 0.1
    even = StreamVotingClassifier(LR, divide_prior=True, combine="mean").fit(X, y)
    mean = StreamVotingClassifier(LR, combine="mean").fit(X, y)
    np.testing.assert_array_equal(even.predict_proba(X), mean.predict_proba(X))


def test_held_out_rows_change_nothing_fitted(clips):
    X, y = clips
    X = X.copy()
    X.iloc[:6, :2] = np.nan
    learn, held = np.arange(60), np.arange(60, 90)
    X2, y2 = changed_rows(X, y, held)
    estimator = StreamVotingClassifier(make_pipeline(StandardScaler(), LR), fused=LR)

    def fit(X, y, rows):
        return clone(estimator).fit(X.iloc[rows], y[rows])

    assert not differences(fit(X, y, learn), fit(X2, y2, learn))
    found = " ".join(differences(fit(X, y, np.arange(90)), fit(X2, y2, np.arange(90))))
    assert "mean_" in found and "coef_" in found
    # Unlabelled rows are no part of a fit either.
    partly, also = y.astype(object), y.astype(object)
    partly[held] = also[held] = None
    assert not differences(fit(X, partly, range(90)), fit(X2, also, range(90)))


def test_members_do_not_depend_on_jobs(clips):
    X, y = clips
    alone = StreamVotingClassifier(LR, fused=LR).fit(X, y)
    with parallel_config(backend="threading"):
        jobs = StreamVotingClassifier(LR, fused=LR, n_jobs=2).fit(X, y)
    assert not differences(alone, jobs)
    assert np.array_equal(alone.predict_proba(X), jobs.predict_proba(X))


def test_pickles_and_searches(clips):
    X, y = clips
    vote = StreamVotingClassifier(make_pipeline(StandardScaler(), LR), fused=LR)
    vote.fit(X, y)
    again = pickle.loads(pickle.dumps(vote))
    assert np.array_equal(again.predict_proba(X), vote.predict_proba(X))
    grid = {
        "estimator__logisticregression__C": [1e-4, 1.0],
        "fused__C": [0.1],
        "combine": ["mean", "product"],
    }
    search = GridSearchCV(vote, grid, cv=3).fit(X, y)
    members = search.best_estimator_.estimators_
    best = search.best_params_["estimator__logisticregression__C"]
    assert (members["audio"][-1].C, members["fused"].C) == (best, 0.1)
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    pipe = make_pipeline(StandardScaler(), StreamVotingClassifier(LR))
    pipe.set_output(transform="pandas")
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.5


def test_names_are_checked(clips):
    X, y = clips
    vote = StreamVotingClassifier(LR).fit(X, y)
    assert vote.feature_names_in_.tolist() == NAMES
    with pytest.raises(ValueError, match="feature names should match"):
        vote.predict(X[NAMES[::-1]])
    values = X.to_numpy()
    with pytest.raises(ValueError, match="X has 4 features"):
        plain = clone(vote).set_params(streams=EVERYTHING).fit(values, y)
        plain.predict(values[:, :4])
    with pytest.raises(ValueError, match="0 feature"):
        vote.fit(X[[]], y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": Perceptron()}, "'audio', Perceptron, has no predict_proba"),
        ({"fused": Perceptron()}, "'fused', Perceptron, has no predict_proba"),
        ({"estimator": {"audio": LR, "vidoe": LR}}, "Did you mean 'video'"),
        ({"estimator": {"audio": LR}}, "estimator has nothing for 'video'"),
        ({"weights": {"audio": 1.0}}, "weights has nothing for 'video'"),
        ({"weights": {"audio": 1.0, "text": 1.0}}, "names 'text', which is no stream"),
        ({"weights": [1.0]}, "weights has 1 numbers, but there are 2 members"),
        ({"weights": [1.0, -1.0]}, "none below zero"),
        ({"weights": [0.0, 0.0]}, "one above it"),
        ({"combine": "vote"}, "combine"),
    ],
)
def test_errors(clips, params, message):
    X, y = clips
    vote = StreamVotingClassifier(LR).set_params(**params)
    with pytest.raises(ValueError, match=message):
        vote.fit(X, y)


def test_errors_about_data(clips):
    X, y = clips
    lacking = X.assign(audio__0=np.nan, audio__1=np.nan)
    with pytest.raises(ValueError, match="'audio' has no value in any of the 90"):
        StreamVotingClassifier(LR).fit(lacking, y)
    holes = X.copy()
    holes.iloc[:45, 0] = np.nan
    holes.iloc[45:, 4] = np.nan
    with pytest.raises(ValueError, match="None of the 90 labelled rows has all"):
        StreamVotingClassifier(LR, fused=LR).fit(holes, y)
    named = X.rename(columns={"audio__0": "fused__0"})
    with pytest.raises(ValueError, match="stream called 'fused'"):
        StreamVotingClassifier(LR, fused=LR).fit(named, y)
    with pytest.raises(ValueError, match="requires y"):
        StreamVotingClassifier(LR).fit(X, None)


def test_the_product_on_ravdess(shared_data):
    with np.load(shared_data / "ravdess" / "ravdess_av.npz") as data:
        X = np.hstack([data["audio_egemaps"], data["visual_au"]])
        y, fold = data["y"], data["fold"]
    streams = {"audio": slice(0, 88), "video": slice(88, 123)}
    lr = LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
    pipe = make_pipeline(StandardScaler(), lr)
    scores = []
    for f in np.unique(fold):
        test = fold == f
        vote = StreamVotingClassifier(pipe, streams=streams).fit(X[~test], y[~test])
        parts = [
            clone(pipe).fit(X[~test, s], y[~test]).predict_proba(X[test, s])
            for s in streams.values()
        ]
        label = vote.predict(X[test])
        assert (label == vote.classes_[np.prod(parts, axis=0).argmax(axis=1)]).all()
        scores.append(f1_score(y[test], label, average="weighted"))
    assert np.mean(scores) == pytest.approx(0.731, abs=0.001)


def test_scattered_holes_are_told_of(clips):
    X, y = clips
    X = X.copy()
    X.iloc[:5, 0] = np.nan
    X.iloc[3:6, 4] = np.nan
    X.iloc[6:9, :2] = np.nan  # without the whole stream: nothing to tell
    told = "5 of 90 in 'audio', 3 of 90 in 'video'.*ModalityImputer.*missing='all'"
    with pytest.warns(UserWarning, match=told):
        StreamVotingClassifier(LR).fit(X, y)
    filled = make_pipeline(ModalityImputer(), LR)
    StreamVotingClassifier(filled, missing="all").fit(X, y)
    # What the message says to do
    pipe = make_pipeline(ModalityImputer(), StreamVotingClassifier(LR))
    pipe.set_output(transform="pandas").fit(X, y)


def test_x_whose_names_tell_no_streams_is_told_of(clips):
    X, y = clips
    plain = X.set_axis([f"f{i}" for i in range(5)], axis=1)
    numbered = X.set_axis(range(5), axis=1)
    for nameless in (X.to_numpy(), plain, numbered):
        with pytest.warns(UserWarning, match=r"one stream, 'all'.*set_output.*streams"):
            StreamVotingClassifier(LR).fit(nameless, y)
        for explicit in ({"streams": EVERYTHING}, {"estimator": {"all": LR}}):
            StreamVotingClassifier(LR).set_params(**explicit).fit(nameless, y)


def test_a_column_of_clips_is_no_stream_unless_told(clips):
    y = clips[1]
    frame = pd.DataFrame({"video": [f"{label}.mp4" for label in y]})
    read = make_pipeline(
        FunctionTransformer(one_column), HashingVectorizer(n_features=64), LR
    )
    told = r"'video'.*stream__feature.*streams=\{'video': \['video'\]\}"
    with pytest.raises(ValueError, match=told):
        StreamVotingClassifier({"video": read}).fit(frame, y)
    vote = StreamVotingClassifier({"video": read}, streams={"video": ["video"]})
    assert vote.fit(frame, y).score(frame, y) == 1.0
    with pytest.raises(ValueError, match=r"stream__feature.*pass streams="):
        StreamVotingClassifier({"audio": read}).fit(frame, y)


def test_clips_themselves(small_clips):
    X = small_clips.data.copy()
    y = np.array(["low", "high"] * 3)
    X.iloc[0, X.columns.get_loc("audio")] = None
    members = {
        "audio": make_pipeline(AcousticEncoder(cache=None), StandardScaler(), LR),
        "text": make_pipeline(TextEncoder(n_features=64, cache=None), LR),
    }
    streams = {"audio": ["audio"], "text": ["text"]}
    vote = StreamVotingClassifier(members, streams=streams).fit(X, y)
    assert vote.predict_proba(X).shape == (6, 2)
    said = vote.stream_proba(X)
    assert said["audio"].isna().any(axis=1).tolist() == [True] + [False] * 5
    assert said["text"].notna().all(axis=None)
    with pytest.raises(ValueError, match="streams={'text': \\['text'\\]"):
        StreamVotingClassifier({"text": members["text"]}).fit(X, y)


@pytest.mark.parametrize(
    "vote",
    [
        StreamVotingClassifier(LogisticRegression),
        StreamVotingClassifier({"audio": LR, "video": LogisticRegression}),
        StreamVotingClassifier(LR, fused=LogisticRegression),
    ],
)
def test_classes_are_refused(clips, vote):
    with pytest.raises(TypeError, match="Expected an estimator instance"):
        vote.fit(*clips)
