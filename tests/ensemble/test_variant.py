import pickle

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmer.ensemble import (
    SeedVotingClassifier,
    StreamVotingClassifier,
    VariantVotingClassifier,
)
from skmer.fusion import AttentionFusionClassifier
from skmer.preprocessing import ModalityImputer

LR = LogisticRegression()
NET = AttentionFusionClassifier(hidden_size=8, stream_heads=8, max_epochs=3)
NAMES = [
    "audio__0",
    "audio__1",
    "video__face__0",
    "video__face__1",
    "video__frame__0",
    "text__0",
]
WHOLE_AND_ONE_LESS = [
    "whole",
    "without audio",
    "without video__face",
    "without video__frame",
    "without text",
]


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    values = rng.normal(size=(60, 6))
    values[:, [0, 2, 4, 5]] += codes[:, None]
    X = pd.DataFrame(values, columns=NAMES, index=[f"c{i}" for i in range(60)])
    return X, np.array(["angry", "happy", "sad"])[codes]


def seen(member):
    return member.feature_names_in_.tolist()


@pytest.mark.parametrize("voting", ["hard", "soft", "logit"])
def test_members_lack_one_stream_each(clips, voting):
    X, y = clips
    vote = VariantVotingClassifier(LR, voting=voting, random_state=0).fit(X, y)
    assert vote.variants_["name"].tolist() == WHOLE_AND_ONE_LESS
    kept = [
        NAMES,
        NAMES[2:],
        NAMES[:2] + NAMES[4:],
        NAMES[:4] + NAMES[5:],
        NAMES[:5],
    ]
    assert [seen(member) for member in vote.estimators_] == kept
    alone = [clone(LR).fit(X[names], y) for names in kept]
    parts = [m.predict_proba(X[n]) for m, n in zip(alone, kept, strict=True)]
    if voting == "hard":
        labels = np.array([m.predict(X[n]) for m, n in zip(alone, kept, strict=True)])
        counts = np.array([(labels == c).sum(axis=0) for c in vote.classes_])
        counts = counts + 0.5 * np.mean(parts, axis=0).T
        expected = vote.classes_[counts.argmax(axis=0)]
        assert not hasattr(vote, "predict_proba")
    else:
        mean = np.mean(parts if voting == "soft" else np.log(parts), axis=0)
        proba = mean if voting == "soft" else np.exp(mean)
        proba /= proba.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(vote.predict_proba(X), proba)
        expected = vote.classes_[mean.argmax(axis=1)]
    assert (vote.predict(X) == expected).all()
    assert vote.n_features_in_ == 6
    assert vote.feature_names_in_.tolist() == NAMES


def test_votes_of_members_without_probabilities(clips):
    X, y = clips
    vote = VariantVotingClassifier(Perceptron(), random_state=0).fit(X, y)
    labels = [member.predict(X[seen(member)]) for member in vote.estimators_]
    counts = np.array([(np.array(labels) == c).sum(axis=0) for c in vote.classes_])
    assert (vote.predict(X) == vote.classes_[counts.argmax(axis=0)]).all()


def test_some_members_have_no_probabilities(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), LR)
    variants = [{}, {"logisticregression": Perceptron()}, {"drop": "text"}]
    vote = VariantVotingClassifier(pipe, variants=variants, random_state=0).fit(X, y)
    said = [vote.estimators_[i].predict(X) for i in (0, 1)]
    said.append(vote.estimators_[2].predict(X[NAMES[:5]]))
    counts = np.array([(np.array(said) == c).sum(axis=0) for c in vote.classes_])
    assert (vote.predict(X) == vote.classes_[counts.argmax(axis=0)]).all()
    assert not hasattr(vote.set_params(voting="soft"), "predict_proba")


def test_listed_variants(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), LR).set_output(transform="pandas")
    variants = [
        {},
        {"logisticregression__C": 0.1},
        {"drop": "video", "logisticregression__C": 0.2},
        {"drop": ["audio", "video__face"]},
        {"logisticregression": GaussianNB()},
        {"standardscaler": "passthrough"},
    ]
    vote = VariantVotingClassifier(pipe, variants=variants, n_seeds=2, random_state=0)
    vote.fit(X, y)
    table = vote.variants_
    assert len(table) == len(vote.estimators_) == 12
    assert table["name"].tolist()[::2] == [
        "whole",
        "logisticregression__C=0.1",
        "without video; logisticregression__C=0.2",
        "without audio, video__face",
        "logisticregression=GaussianNB()",
        "standardscaler='passthrough'",
    ]
    assert table["dropped"].iloc[6] == ("audio", "video__face")
    assert table["params"].iloc[4] == {"logisticregression__C": 0.2}
    assert table["seed"].nunique() == 12
    members = vote.estimators_[::2]
    assert [seen(members[i]) for i in (1, 2, 3)] == [
        NAMES,
        ["audio__0", "audio__1", "text__0"],
        ["video__frame__0", "text__0"],
    ]
    assert (members[1][-1].C, members[2][-1].C) == (0.1, 0.2)
    assert isinstance(members[4][-1], GaussianNB)
    assert members[4][-1] is not vote.estimators_[9][-1]
    assert members[5][0] == "passthrough"
    assert pipe[-1].C == 1.0 and not hasattr(variants[4], "classes_")


def test_seeds(clips):
    X, y = clips
    variants = [{}, {"random_state": 7, "lr": 0.01}]
    vote = VariantVotingClassifier(NET, variants=variants, n_seeds=2, random_state=0)
    vote.fit(X, y)
    states = [member.random_state for member in vote.estimators_]
    assert states[2:] == [7, 7]
    assert len(set(states)) == 3
    more = clone(vote).set_params(variants=[*variants, {"lr": 0.1}]).fit(X, y)
    assert [m.random_state for m in more.estimators_[:4]] == states


def test_networks_side_by_side(clips):
    X, y = clips
    X.iloc[:3, :2] = np.nan
    vote = VariantVotingClassifier(NET, n_seeds=2, random_state=0).fit(X, y)
    streams = [list(member.streams_) for member in vote.estimators_[::2]]
    assert streams[0] == ["audio", "text", "video__face", "video__frame"]
    assert streams[1] == streams[0][1:]
    parts = []
    for member in vote.estimators_:
        own = X[seen(member)]
        parts.append(member.predict_proba(own))
        if len(parts) < 5:
            alone = clone(member).fit(own, y).predict_proba(own)
            np.testing.assert_allclose(parts[-1], alone, atol=1e-5)
    one = [vote.predict(X.iloc[[i]])[0] for i in range(10)]
    assert one == vote.predict(X)[:10].tolist()
    vote.set_params(voting="soft")
    np.testing.assert_allclose(vote.predict_proba(X), np.mean(parts, axis=0), atol=1e-6)
    vote.set_params(voting="logit")
    logits = np.exp(np.mean(np.log(parts), axis=0))
    logits /= logits.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(vote.predict_proba(X), logits, atol=1e-6)
    assert vote.transform(X).shape == (60, 10 * 8)


def test_weights_count_zero_where_a_member_lacks_the_stream(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), NET).set_output(transform="pandas")
    for estimator in (NET, pipe):
        vote = VariantVotingClassifier(estimator, n_seeds=2, random_state=0).fit(X, y)
        for method in ("modality_weights", "saliency"):
            found = getattr(vote, method)(X, normalize=True)
            assert found.index.equals(X.index)
            assert sorted(found) == ["audio", "text", "video__face", "video__frame"]
            np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
            total = 0.0
            for member in vote.estimators_:
                own = X[seen(member)]
                if estimator is pipe:
                    own, member = member[0].transform(own), member[-1]
                part = getattr(member, method)(own, normalize=True)
                total = total + part.reindex(columns=found.columns, fill_value=0.0)
            np.testing.assert_allclose(found, total / 10, atol=1e-5)
    assert not hasattr(VariantVotingClassifier(LR), "modality_weights")
    seeds = SeedVotingClassifier(NET, n_seeds=2)
    variants = [{"drop": "audio"}, {}]
    nested = VariantVotingClassifier(seeds, variants=variants, random_state=0).fit(X, y)
    parts = [m.saliency(X[seen(m.estimators_[0])]) for m in nested.estimators_]
    assert "audio" not in parts[0]
    found = nested.saliency(X)
    assert list(found) == ["text", "video__face", "video__frame", "audio"]
    expected = parts[0].add(parts[1], fill_value=0.0)[list(found)] / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_streams_that_the_classifier_was_told(clips):
    X, y = clips
    told = clone(NET).set_params(streams=["video", "audio"])
    pipe = make_pipeline(ModalityImputer(streams=["audio", "video", "text"]), told)
    pipe.set_output(transform="pandas")
    vote = VariantVotingClassifier(pipe, random_state=0).fit(X, y)
    assert vote.variants_["name"].tolist() == [
        "whole",
        "without video",
        "without audio",
    ]
    imputer, net = vote.estimators_[1]
    assert (imputer.streams, net.streams) == (["audio", "text"], ["audio"])
    assert seen(imputer) == ["audio__0", "audio__1", "text__0"]
    # By number: the columns stay where they are.
    slices = {"audio": slice(0, 2), "rest": [2, 3, 4, 5]}
    net = clone(NET).set_params(streams=slices)
    vote = VariantVotingClassifier(net, random_state=0).fit(X.to_numpy(), y)
    assert vote.variants_["name"].tolist() == ["whole", "without audio", "without rest"]
    assert list(vote.estimators_[1].streams) == ["rest"]
    named = VariantVotingClassifier(net, random_state=0).fit(X, y)
    assert (named.predict(X) == vote.predict(X.to_numpy())).all()
    votes = StreamVotingClassifier(LR, streams=["audio", "video", "text"])
    vote = VariantVotingClassifier(votes).fit(X, y)
    assert list(vote.estimators_[2].estimators_) == ["audio", "text"]


def first_words(clips):
    return [clip.split()[0] for clip in clips]


def two_streams(clips):
    first = HashingVectorizer(n_features=16).transform(first_words(clips)).toarray()
    second = HashingVectorizer(n_features=16).transform(clips).toarray()
    names = [f"{s}__{i}" for s in ("first", "words") for i in range(16)]
    return pd.DataFrame(np.hstack([first, second]), columns=names, index=list(clips))


def test_pipelines_that_begin_with_clips():
    y = np.array(["angry", "happy", "sad"])[np.arange(60) % 3]
    clips = [f"{label} it is {i}" for i, label in enumerate(y)]
    told = clone(NET).set_params(streams=["first", "words"], lr=0.02, max_epochs=15)
    pipe = make_pipeline(FunctionTransformer(two_streams), told)
    vote = VariantVotingClassifier(pipe, voting="soft", random_state=0).fit(clips, y)
    assert [list(m[-1].streams_) for m in vote.estimators_] == [
        ["first", "words"],
        ["words"],
        ["first"],
    ]
    assert vote.score(clips, y) > 0.5
    assert vote.saliency(clips).shape == (60, 2)
    untold = make_pipeline(FunctionTransformer(two_streams), NET)
    step = "attentionfusionclassifier__streams"
    with pytest.raises(ValueError, match=rf"pass {step}=\(...\) to it"):
        VariantVotingClassifier(untold).fit(clips, y)
    with pytest.raises(ValueError, match=rf"Pass {step}=\(...\) to it"):
        VariantVotingClassifier(untold, variants=[{"drop": "first"}]).fit(clips, y)


def test_sample_weight_and_unlabelled_rows(clips):
    X, y = clips
    vote = VariantVotingClassifier(LR, voting="soft")
    even = vote.fit(X, y).predict_proba(X)[:, 2].mean()
    weight = np.where(y == "sad", 9.0, 1.0)
    assert vote.fit(X, y, weight).predict_proba(X)[:, 2].mean() > even + 0.05
    partly = y.astype(object)
    partly[::4] = None
    vote = VariantVotingClassifier(NET, random_state=0).fit(X, partly)
    assert vote.classes_.tolist() == ["angry", "happy", "sad"]
    assert 0.0 <= vote.score(X, partly) <= 1.0


def test_members_do_not_depend_on_jobs(clips):
    X, y = clips
    pipe = make_pipeline(StandardScaler(), LR)
    alone = VariantVotingClassifier(pipe, random_state=0, voting="soft").fit(X, y)
    with parallel_config(backend="threading"):
        jobs = clone(alone).set_params(n_jobs=2).fit(X, y)
    assert not differences(alone.estimators_, jobs.estimators_)
    assert np.array_equal(alone.predict_proba(X), jobs.predict_proba(X))


def test_repeats_pickles_and_searches(clips):
    X, y = clips
    vote = VariantVotingClassifier(NET, voting="soft", random_state=0).fit(X, y)
    proba = vote.predict_proba(X)
    assert np.array_equal(clone(vote).fit(X, y).predict_proba(X), proba)
    again = pickle.loads(pickle.dumps(vote))
    assert np.array_equal(again.predict_proba(X), proba)
    search = GridSearchCV(
        VariantVotingClassifier(LR),
        {"estimator__C": [1e-3, 1.0], "voting": ["soft"], "n_seeds": [1]},
        cv=3,
    ).fit(X, y)
    member = search.best_estimator_.estimators_[1]
    assert member.C == search.best_params_["estimator__C"]


def test_held_out_rows_change_nothing_fitted(clips):
    X, y = clips
    learn, held = np.arange(40), np.arange(40, 60)
    X2, y2 = changed_rows(X, y, held)
    pipe = make_pipeline(StandardScaler(), NET).set_output(transform="pandas")
    for estimator in (LR, pipe):
        vote = VariantVotingClassifier(estimator, random_state=0)

        def fit(X, y, rows, vote=vote):
            return clone(vote).fit(X.iloc[rows], y[rows])

        assert not differences(fit(X, y, learn), fit(X2, y2, learn))
        assert differences(fit(X, y, range(60)), fit(X2, y2, range(60)))


def test_a_majority_overrules_a_spoilt_stream():
    rng = np.random.default_rng(0)
    y = np.arange(900) % 3
    names = [f"{stream}__{i}" for stream in ("audio", "text", "video") for i in "abc"]
    values = rng.normal(size=(900, 9))
    for stream in range(3):
        values[np.arange(900), 3 * stream + y] += 2.0
    learn, new = slice(0, 300), np.arange(300, 900)
    for row in new:
        stream = 3 * rng.integers(3)
        values[row, stream : stream + 3] = 8 * rng.normal(size=3)
    X = pd.DataFrame(values, columns=names)
    alone = [{"drop": pair} for pair in (["audio", "text"], ["audio", "video"])]
    alone.append({"drop": ["text", "video"]})
    vote = VariantVotingClassifier(LR, variants=alone).fit(X[learn], y[learn])
    whole = clone(LR).fit(X[learn], y[learn])
    right = [
        f1_score(y[new], m.predict(X.iloc[new]), average="weighted")
        for m in (whole, vote)
    ]
    assert right[1] > right[0] + 0.05


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"variants": [{"c": 1.0}]}, "set 'c', which LogisticRegression does not have"),
        ({"variants": [{"max_itr": 5}]}, "Did you mean 'max_iter'"),
        ({"variants": []}, "variants is empty"),
        ({"variants": ["audio"]}, "Each of variants is a dict"),
        ({"variants": [{"drop": "adio"}]}, "stream 'adio'.*Did you mean 'audio'"),
        ({"variants": [{"drop": ["audio", "video", "text"]}]}, "no stream is left"),
        ({"variants": "streams"}, "variants"),
        ({"n_seeds": 0}, "n_seeds"),
    ],
)
def test_errors(clips, params, message):
    X, y = clips
    vote = VariantVotingClassifier(LR).set_params(**params)
    with pytest.raises(ValueError, match=message):
        vote.fit(X, y)


def test_errors_about_streams(clips):
    X, y = clips
    with pytest.raises(ValueError, match="needs to know the streams"):
        VariantVotingClassifier(LR).fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="without 'audio', the only one"):
        VariantVotingClassifier(LR).fit(X[NAMES[:2]], y)
    told = clone(NET).set_params(streams=["audio", "text"])
    with pytest.raises(ValueError, match="no stream is left of audio, text"):
        VariantVotingClassifier(told, variants=[{"drop": ["audio", "text"]}]).fit(X, y)
    net = VariantVotingClassifier(NET, variants=[{"hiden_size": 4}])
    with pytest.raises(ValueError, match="Did you mean 'hidden_size'"):
        net.fit(X, y)
    vote = VariantVotingClassifier(LR).fit(X, y)
    with pytest.raises(ValueError, match="feature names should match"):
        vote.predict(X[NAMES[::-1]])
