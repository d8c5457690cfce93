import io
import pickle
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imb_pipeline
from leaks import changed_rows, differences
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skmer.ensemble import SVMEnsembleClassifier
from skmer.ensemble._svm_kernels import resolve_gamma

KERNELS = ("linear", "rbf", "poly", "sigmoid")


def drawn(n_classes, n_rows=300):
    X, y = make_classification(
        n_rows,
        24,
        n_informative=8,
        n_classes=n_classes,
        class_sep=1.5,
        random_state=n_classes,
    )
    return StandardScaler().fit_transform(X), y


def frame(n_clips=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array(["angry", "happy", "sad"])[np.arange(n_clips) % 3]
    X = rng.normal(size=(n_clips, 6)).astype(np.float32)
    X[np.arange(n_clips), np.arange(n_clips) % 3] += 2.5
    names = [f"audio__{i}" for i in range(6)]
    return pd.DataFrame(X, columns=names, index=[f"c{i}" for i in range(n_clips)]), y


def state(model):
    """Return all that was fitted, the members' attributes too."""
    members = [{k: v for k, v in vars(m).items()} for m in model.members_]
    return {
        "ensemble": model,
        "members": members,
        "rows": model.support_vectors_,
        "calibrators": model.calibrators_,
    }


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"gamma": "auto", "degree": 2, "coef0": 1.0, "C": 3.0},
        {"gamma": 0.05, "degree": 5, "class_weight": "balanced"},
        {"class_weight": {0: 3.0, 1: 0.5}, "scale_linear": False},
        {"max_gram_rows": 10, "approximation": None},
        {"voting": "soft"},
        {"degree": 0},
    ],
    ids=str,
)
def test_members_are_plain_svcs(n_classes, weighted, params):
    X, y = drawn(n_classes)
    rows, new = np.arange(220), np.arange(220, 300)
    weight = None
    if weighted:
        weight = np.random.RandomState(0).choice([0, 0.5, 1, 3], size=220)
        rows = np.flatnonzero(weight)
    model = SVMEnsembleClassifier(KERNELS, n_seeds=2, random_state=0, **params)
    model.fit(X[:220], y[:220], weight)
    scores = model.member_scores(X[new])
    assert len(model.members_) == 8
    plain = {"degree": 3, "coef0": 0.0, "gamma": "scale", "class_weight": None}
    plain.update({k: v for k, v in params.items() if k in plain})
    for i, member in enumerate(model.members_):
        assert member.kernel == KERNELS[i % 4] and member.seed == i // 4
        columns = X[:, member.features_]
        gamma = resolve_gamma(plain["gamma"], columns[rows])
        C = params.get("C", 1.0)
        if member.kernel == "linear" and params.get("scale_linear", True):
            C *= gamma
        machine = SVC(kernel=member.kernel, C=C, **plain)
        machine.fit(columns[rows], y[rows], None if weight is None else weight[rows])
        theirs = machine.decision_function(columns[new])
        np.testing.assert_allclose(
            member.decision_function(X[new]), theirs, atol=1e-8, rtol=0
        )
        both = np.stack([-theirs, theirs], axis=1) if n_classes == 2 else theirs
        np.testing.assert_allclose(scores[:, i], both, atol=1e-8, rtol=0)
        np.testing.assert_array_equal(member.support_, rows[machine.support_])
        np.testing.assert_allclose(member.dual_coef_, machine.dual_coef_, atol=1e-8)
        np.testing.assert_array_equal(member.n_support_, machine.n_support_)
        np.testing.assert_array_equal(
            member.predict(X[new]),
            machine.set_params(break_ties=True).predict(columns[new])
            if n_classes > 2
            else machine.predict(columns[new]),
        )


def test_a_bootstrapped_member_is_an_svc_with_counts_as_weights():
    X, y = drawn(3)
    model = SVMEnsembleClassifier(
        ["rbf"], n_seeds=2, bootstrap=True, max_samples=0.5, random_state=0
    ).fit(X, y)
    for member in model.members_:
        rng = np.random.RandomState(_seeds(2)[member.seed])
        features = np.sort(rng.choice(24, 17, replace=False))
        rows = np.concatenate(
            [
                rng.choice(of_class, round(150 * len(of_class) / 300))
                for of_class in _sorted_rows(y)
            ]
        )
        counts = np.bincount(rows, minlength=300)
        order = np.concatenate(_sorted_rows(y, positions=False))
        chosen = order[np.flatnonzero(counts)]
        np.testing.assert_array_equal(member.features_, features)
        machine = SVC().fit(
            X[np.ix_(chosen, features)], y[chosen], counts[counts > 0].astype(float)
        )
        np.testing.assert_allclose(
            member.decision_function(X), machine.decision_function(X[:, features])
        )


def _seeds(n):
    return np.random.RandomState(0).randint(2**31 - 1, size=n + 1)


def _sorted_rows(y, positions=True):
    """Rows of each class: places among rows sorted by class, or numbers in y."""
    order = np.argsort(y, kind="stable")
    where = np.arange(len(y)) if positions else order
    return [where[y[order] == c] for c in np.unique(y)]


def test_subsets_of_rows_hold_every_class():
    X, y = frame(60)
    y[y == "sad"] = "happy"
    y[0] = "rare"
    for bootstrap in (False, True):
        model = SVMEnsembleClassifier(
            n_seeds=3, bootstrap=bootstrap, max_samples=0.2, random_state=0
        ).fit(X, y)
        assert all((m.n_support_ > 0).all() for m in model.members_)
        sizes = {int(m.n_support_.sum()) for m in model.members_}
        assert max(sizes) <= 13


@pytest.mark.parametrize(("max_samples", "n_rows"), [(1, 3), (1.0, 90)])
def test_one_row_is_not_all_rows(max_samples, n_rows):
    X, y = frame()
    model = SVMEnsembleClassifier(n_seeds=1, max_samples=max_samples, C=1e-6)
    # Machines that hardly may learn lean on every row
    for member in model.fit(X, y).members_:
        assert len(member.support_) == n_rows


def test_draws_differ_and_kernels_share_them():
    X, y = drawn(3)
    model = SVMEnsembleClassifier(n_seeds=4, max_features=5, random_state=0).fit(X, y)
    by_seed = {}
    for member in model.members_:
        by_seed.setdefault(member.seed, set()).add(tuple(member.features_))
    assert all(len(draws) == 1 for draws in by_seed.values())
    assert len(set.union(*by_seed.values())) == 4
    assert all(len(member.features_) == 5 for member in model.members_)


def test_hard_votes_and_ties():
    X, y = drawn(4)
    model = SVMEnsembleClassifier(n_seeds=2, random_state=0).fit(X[:80], y[:80])
    scores = model.member_scores(X)
    votes = np.stack([np.bincount(row, minlength=4) for row in scores.argmax(axis=2)])
    best = votes == votes.max(axis=1, keepdims=True)
    assert (best.sum(axis=1) > 1).any(), "the data should make ties"
    expected = np.where(best, scores.sum(axis=1), -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), expected)
    decision = model.decision_function(X)
    np.testing.assert_array_equal(np.round(decision), votes)
    assert not hasattr(model, "predict_proba")


def test_hard_ties_of_two_classes():
    X, y = drawn(2)
    model = SVMEnsembleClassifier(n_seeds=2, random_state=0).fit(X[:60], y[:60])
    margins = model.member_scores(X)[:, :, 1]
    ahead = (margins > 0).sum(axis=1)
    tied = ahead == 3
    assert tied.any()
    bounded = (margins / (3 * (1 + np.abs(margins)))).sum(axis=1)
    np.testing.assert_array_equal(model.predict(X)[tied], bounded[tied] > 0)
    np.testing.assert_array_equal(model.predict(X)[~tied], ahead[~tied] > 3)
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X))


@pytest.mark.parametrize("calibration", ["temperature", "sigmoid"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_soft_votes_are_calibrated(n_classes, calibration):
    X, y = drawn(n_classes, 500)
    y = y.copy()
    flip = np.random.RandomState(0).rand(500) < 0.2
    y[flip] = (y[flip] + 1) % n_classes
    model = SVMEnsembleClassifier(
        ["rbf"],
        n_seeds=3,
        C=100.0,
        voting="soft",
        calibration=calibration,
        random_state=0,
    ).fit(X[:300], y[:300])
    proba = model.predict_proba(X[300:])
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(proba.argmax(axis=1), model.predict(X[300:]))
    decision = model.decision_function(X[300:])
    hard = decision > 0 if n_classes == 2 else decision.argmax(axis=1)
    np.testing.assert_array_equal(hard, model.predict(X[300:]))
    # Scores of training rows are far surer than those of new ones
    fitted = model.member_scores(X[:300])
    naive = [
        clone(c)
        .fit(fitted[:, i], y[:300])
        .predict_proba(model.member_scores(X[300:])[:, i])
        for i, c in enumerate(_recipes(model, 300))
    ]
    assert log_loss(y[300:], proba) < log_loss(y[300:], np.mean(naive, axis=0))
    frequencies = np.bincount(y[:300]) / 300
    assert log_loss(y[300:], proba) < log_loss(y[300:], np.tile(frequencies, (200, 1)))
    logit = model.set_params(voting="logit").predict_proba(X[300:])
    parts = np.stack(
        [
            c.predict_proba(model.member_scores(X[300:])[:, i])
            for i, c in enumerate(model.calibrators_)
        ]
    )
    np.testing.assert_allclose(proba, parts.mean(axis=0))
    product = np.exp(np.log(parts).mean(axis=0))
    np.testing.assert_allclose(logit, product / product.sum(axis=1, keepdims=True))


def _recipes(model, n_rows):
    every = np.arange(n_rows)
    return [clone(c).set_params(cv=[(every, every)]) for c in model.calibrators_]


def test_calibration_scores_come_from_other_clips():
    X, y = frame(60)
    rng = np.random.default_rng(3)
    y = rng.permutation(y)  # nothing to learn but the clips themselves
    model = SVMEnsembleClassifier(
        ["rbf"], n_seeds=2, C=1e3, gamma=5.0, voting="soft", random_state=0
    )
    copies = X.loc[np.repeat(X.index, 4)]
    together = clone(model).fit(copies, np.repeat(y, 4))
    apart = clone(model).fit(copies.to_numpy(), np.repeat(y, 4))
    sure = together.predict_proba(X).max(axis=1).mean()
    assert sure < 0.6 < 0.95 < apart.predict_proba(X.to_numpy()).max(axis=1).mean()


def test_groups_stay_together_in_calibration():
    X, y = frame(80)
    y = np.random.default_rng(1).permutation(y)
    # Every speaker has one emotion and a place of his own
    speaker = np.arange(80) // 8
    y = y[speaker * 8]
    X = X * 0 + np.random.default_rng(2).normal(size=(10, 6))[speaker]
    groups = pd.Series(speaker, index=X.index)
    model = SVMEnsembleClassifier(["rbf"], n_seeds=2, voting="soft", random_state=0)
    known = clone(model).fit(X, y).predict_proba(X).max(axis=1).mean()
    grouped = model.set_params(groups=groups).fit(X, y)
    assert grouped.predict_proba(X).max(axis=1).mean() < known - 0.2
    with pytest.raises(ValueError, match="groups has no value for clip 'c0'"):
        clone(model).set_params(groups=groups.iloc[1:]).fit(X, y)


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_the_same_whatever_the_number_of_jobs(voting):
    X, y = drawn(3, 150)
    model = SVMEnsembleClassifier(
        KERNELS, n_seeds=3, bootstrap=True, voting=voting, random_state=0
    )
    before = np.random.get_state()  # noqa: NPY002
    first = clone(model).fit(X, y)
    for n_jobs in (2, 5):
        other = clone(model).set_params(n_jobs=n_jobs).fit(X, y)
        assert differences(state(first), state(other)) == []
        np.testing.assert_array_equal(
            first.decision_function(X), other.decision_function(X)
        )
    fits = [clone(model) for _ in range(3)]
    threads = [threading.Thread(target=fit.fit, args=(X, y)) for fit in fits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(differences(state(first), state(fit)) == [] for fit in fits)
    after = np.random.get_state()  # noqa: NPY002
    assert differences(list(before), list(after)) == []
    reseeded = clone(model).set_params(random_state=1).fit(X, y)
    assert differences(state(first), state(reseeded))


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_nothing_of_held_out_rows_is_learnt(voting):
    X, y = frame()
    held = np.arange(60, 90)
    changed = changed_rows(X, y, held)
    model = make_pipeline(
        StandardScaler(),
        SVMEnsembleClassifier(n_seeds=2, voting=voting, random_state=0),
    ).set_output(transform="pandas")
    first = clone(model).fit(X.iloc[:60], y[:60])
    second = clone(model).fit(changed[0].iloc[:60], changed[1][:60])
    assert differences(first, second) == []
    assert differences(state(first[-1]), state(second[-1])) == []
    leaky = clone(model).fit(changed[0].iloc[:61], changed[1][:61])
    assert differences(state(first[-1]), state(leaky[-1]))


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_unlabelled_rows_and_weightless_ones_are_absent(voting):
    X, y = frame()
    marked = y.astype(object)
    marked[::4] = None
    keep = np.flatnonzero(~pd.isna(marked))
    model = SVMEnsembleClassifier(n_seeds=2, voting=voting, random_state=0)
    partly = clone(model).fit(X, marked)
    only = clone(model).fit(X.iloc[keep], y[keep])
    weight = (~pd.isna(marked)).astype(float)
    weighted = clone(model).fit(X, y, weight)
    expected = only.decision_function(X)
    np.testing.assert_array_equal(partly.decision_function(X), expected)
    np.testing.assert_allclose(weighted.decision_function(X), expected)
    assert partly.classes_.tolist() == ["angry", "happy", "sad"]
    assert not set(partly.support_) & set(range(0, 90, 4))
    assert partly.score(X, marked) == only.score(X.iloc[keep], y[keep])
    numbers = np.where(pd.isna(marked), -1, np.arange(90) % 3)
    as_numbers = clone(model).fit(X, numbers)
    np.testing.assert_array_equal(as_numbers.decision_function(X), expected)
    with pytest.raises(ValueError, match="score needs rows with a label"):
        partly.score(X, [None] * 90)


def test_a_class_of_one_clip():
    X, y = frame(60)
    y = y.astype("U8")
    y[5] = "neutral"
    hard = SVMEnsembleClassifier(n_seeds=2, random_state=0).fit(X, y)
    assert set(hard.predict(X)) <= {"angry", "happy", "neutral", "sad"}
    for calibration in ("temperature", "sigmoid"):
        soft = SVMEnsembleClassifier(
            n_seeds=2, voting="soft", calibration=calibration, random_state=0
        )
        with pytest.warns(UserWarning, match=r"\['neutral'\] have a single clip"):
            soft.fit(X, y)
        proba = soft.predict_proba(X)
        assert np.isfinite(proba).all()
        assert proba[:, soft.classes_ == "neutral"].mean() < 0.2


def test_a_class_in_fewer_clips_than_folds_needs_no_warning():
    X, y = frame(60)
    y = y.astype("U8")
    y[[5, 7]] = "neutral"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SVMEnsembleClassifier(n_seeds=2, voting="soft", random_state=0)
        model.fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a"] * 6, r"two classes or more\. Of 6 rows, 6 have a label"),
        ([None] * 6, r"two classes or more\. Of 6 rows, 0 have a label"),
        (["a", "b", None, None, None, None], "no class has two clips"),
    ],
)
def test_labels_that_do_not_do(y, message):
    X = np.random.default_rng(0).normal(size=(6, 3))
    model = SVMEnsembleClassifier(n_seeds=1, voting="soft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message):
            model.fit(X, np.array(y, dtype=object))


def test_draws_too_small_to_calibrate_on():
    X, y = frame()
    model = SVMEnsembleClassifier(
        n_seeds=1, max_samples=2, voting="soft", random_state=0
    )
    two = y != "sad"
    with pytest.raises(ValueError, match="no part of the rows without a fold has two"):
        model.fit(X[two], y[two])
    model.set_params(voting="hard").fit(X[two], y[two])


def test_other_things_refused():
    X, y = frame()
    model = SVMEnsembleClassifier(n_seeds=1)
    holes = X.copy()
    holes.iloc[:4, 2] = np.nan
    for call in (lambda: model.fit(holes, y), lambda: model.fit(X, y).predict(holes)):
        with pytest.raises(ValueError, match=r"NaN, in 4 of 90 rows.*ModalityImputer"):
            call()
    for kernels in (["rbf", "rbf"], [], ["cosine"]):
        with pytest.raises(ValueError, match="kernels must be different ones of"):
            SVMEnsembleClassifier(kernels).fit(X, y)
    # The linear kernel's penalty would be zero
    with pytest.raises(ValueError, match="The 'gamma' parameter of SVMEns"):
        SVMEnsembleClassifier(gamma=0.0).fit(X, y)
    with pytest.raises(ValueError, match=r"class_weight holds \['joy'\]"):
        SVMEnsembleClassifier(class_weight={"joy": 2.0}).fit(X, y)
    with pytest.raises(AttributeError, match="Use voting='soft' or 'logit'"):
        model.predict_proba(X)
    with pytest.raises(ValueError, match="was fitted with voting='hard'"):
        model.set_params(voting="soft").predict_proba(X)


def test_a_pickle_holds_support_vectors_only():
    X, y = make_blobs(600, 20, centers=3, cluster_std=2.0, random_state=0)
    X = StandardScaler().fit_transform(X)
    model = SVMEnsembleClassifier(["linear", "rbf"], n_seeds=4, C=10.0, random_state=0)
    model.fit(X, y)
    assert len(model.support_) < 300
    np.testing.assert_array_equal(model.support_vectors_, X[model.support_])
    data = pickle.dumps(model)
    # The rows once, not once per member, and no matrix of products
    assert len(data) < model.support_vectors_.nbytes + 8 * 8 * 4 * 300
    file = io.BytesIO()
    joblib.dump(model, file)
    assert len(file.getvalue()) < 2 * len(data)
    other = pickle.loads(data)
    np.testing.assert_array_equal(
        other.decision_function(X), model.decision_function(X)
    )
    alone = pickle.loads(pickle.dumps(model.members_[1]))
    np.testing.assert_array_equal(
        alone.decision_function(X), model.members_[1].decision_function(X)
    )
    assert "rbf" in repr(alone)


def test_works_in_searches_and_after_samplers():
    X, y = frame()
    model = make_imb_pipeline(
        StandardScaler(),
        RandomOverSampler(random_state=0),
        SVMEnsembleClassifier(n_seeds=2, random_state=0),
    ).set_output(transform="pandas")
    search = GridSearchCV(model, {"svmensembleclassifier__C": [0.1, 1.0]}, cv=3)
    search.fit(X, y)
    assert search.best_score_ > 0.8
    assert list(search.best_estimator_[-1].feature_names_in_) == list(X.columns)
    assert cross_val_score(model, X, y, cv=3).mean() > 0.8


def test_verbose_shows_progress(capsys):
    X, y = frame()
    SVMEnsembleClassifier(n_seeds=2, verbose=True).fit(X, y)
    assert "6/6" in capsys.readouterr().err


def test_features_that_no_solver_copes_with_do_not_stall_it():
    # Cubes of products of values around 1e3, and no difference between the classes
    X = 1e3 + np.random.default_rng(0).normal(size=(60, 4))
    ensemble = SVMEnsembleClassifier(
        ["poly"], n_seeds=1, bootstrap=True, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="StandardScaler"):
        ensemble.fit(X, np.arange(60) % 2)


def reference(member, X, y, rows, new, weight=None, class_weight=None):
    """Return pairwise decisions of SVCs on scikit-learn's own Nystroem features."""
    columns = X[:, member.features_]
    if member.kernel == "linear":
        learn, ask = columns[rows], new[:, member.features_]
    else:
        landmarks = columns[member.support_]
        params = {"coef0": member.coef0} if member.kernel != "rbf" else {}
        params |= {"degree": member.degree} if member.kernel == "poly" else {}
        features = Nystroem(
            kernel=member.kernel,
            gamma=member.gamma,
            n_components=len(landmarks),
            random_state=0,
            **params,
        ).fit(landmarks)
        learn, ask = (
            features.transform(columns[rows]),
            features.transform(new[:, member.features_]),
        )
    machine = SVC(
        kernel="linear",
        C=member.C,
        class_weight=class_weight,
        tol=1e-6,
        decision_function_shape="ovo",
    )
    machine.fit(learn, y[rows], weight)
    pairs = machine.decision_function(ask)
    return (-pairs[:, np.newaxis] if pairs.ndim == 1 else pairs), learn, ask


def decided(member, new):
    """Return a member's decisions between pairs."""
    columns = new[:, member.features_]
    vectors = member._pool.rows[:, member.features_]
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return member.pairs(columns, columns @ vectors.T, squares, member._where)


@pytest.mark.parametrize(("width", "close"), [(None, 0.2), (1e-3, 0.02)])
@pytest.mark.parametrize(
    ("n_classes", "params"),
    [
        (2, {}),
        (4, {"gamma": "auto", "coef0": 1.0, "C": 0.3}),
        (3, {"class_weight": "balanced", "scale_linear": False, "C": 0.05}),
        (3, {"class_weight": {0: 3.0, 1: 0.5}, "degree": 2}),
    ],
    ids=str,
)
def test_landmarks_make_the_machines_of_scikit_learn(
    n_classes, params, width, close, monkeypatch
):
    # Narrower than it is used, the hinge becomes that of the reference
    if width is not None:
        # Where it is looked up: a module may be there twice, for the sake of doctests
        fits = SVMEnsembleClassifier.fit.__wrapped__.__globals__["fit_draws"]
        kind = fits.__globals__["NystroemFit"]
        names = kind.on.__globals__["fit_pairs"].__globals__
        monkeypatch.setitem(names, "_WIDTH", width)
    X, y = drawn(n_classes)
    X, y, new = X[:220], y[:220], X[220:]
    weight = np.random.RandomState(0).choice([0, 0.5, 1, 3], size=220)
    rows = np.flatnonzero(weight)
    model = SVMEnsembleClassifier(
        KERNELS,
        n_seeds=1,
        approximation="nystroem",
        n_components=40,
        tol=1e-8,
        random_state=0,
        **params,
    ).fit(X, y, weight)
    assert [member.kernel for member in model.members_] == list(KERNELS)
    for member in model.members_:
        assert type(member).__name__ == "NystroemMember"
        assert len(member.support_) == (0 if member.kernel == "linear" else 40)
        assert set(member.support_) <= set(rows)
        columns = X[:, member.features_]
        gamma = resolve_gamma(params.get("gamma", "scale"), columns[rows])
        np.testing.assert_allclose(member.gamma, gamma, rtol=1e-12)
        whole, _, _ = reference(
            member, X, y, rows, new, weight[rows], params.get("class_weight")
        )
        np.testing.assert_allclose(decided(member, new), whole, atol=close, rtol=0)


def test_landmarks_beside_liblinear():
    X, y = drawn(2)
    X, y, new = X[:220], y[:220], X[220:]
    model = SVMEnsembleClassifier(
        ["rbf"],
        n_seeds=1,
        approximation="nystroem",
        n_components=40,
        tol=1e-8,
        random_state=0,
    ).fit(X, y)
    member = model.members_[0]
    _, learn, ask = reference(member, X, y, np.arange(220), new)
    # Its intercept is penalised; scaled so, hardly
    machine = LinearSVC(
        loss="hinge",
        tol=1e-8,
        intercept_scaling=30.0,
        max_iter=1_000_000,
        random_state=0,
    )
    theirs = machine.fit(learn, y).decision_function(ask)
    np.testing.assert_allclose(model.member_scores(new)[:, 0, 1], theirs, atol=0.1)
    assert np.mean(np.sign(theirs) == np.sign(model.member_scores(new)[:, 0, 1])) > 0.97


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_all_rows_as_landmarks_come_near_the_exact_machines(voting):
    X, y = drawn(4, 600)
    exact = SVMEnsembleClassifier(n_seeds=2, voting=voting, random_state=0)
    exact.fit(X[:400], y[:400])
    near, few = (
        clone(exact)
        .set_params(approximation="nystroem", n_components=n)
        .fit(X[:400], y[:400])
        for n in (10_000, 5)
    )
    agreement = [
        np.mean(model.predict(X[400:]) == exact.predict(X[400:]))
        for model in (near, few)
    ]
    assert agreement[0] > 0.97 > agreement[1]
    assert near.score(X[400:], y[400:]) > exact.score(X[400:], y[400:]) - 0.02
    if voting == "soft":
        off = [
            np.abs(model.predict_proba(X[400:]) - exact.predict_proba(X[400:])).mean()
            for model in (near, few)
        ]
        assert off[0] < 0.02 < off[1]


def test_landmarks_are_for_draws_of_many_rows():
    X, y = drawn(3)

    def kinds(**params):
        model = SVMEnsembleClassifier(n_seeds=2, n_components=20, **params)
        return {type(member).__name__ for member in model.fit(X, y).members_}

    assert kinds() == {"SVMMember"}
    assert kinds(max_gram_rows=299) == {"NystroemMember"}
    assert kinds(max_gram_rows=300) == {"SVMMember"}
    assert kinds(max_gram_rows=299, approximation=None) == {"SVMMember"}
    assert kinds(max_gram_rows=299, max_samples=0.5) == {"SVMMember"}
    assert kinds(max_gram_rows=10**6, approximation="nystroem") == {"NystroemMember"}


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_landmarks_are_seeded_and_learn_nothing_of_other_rows(voting):
    X, y = frame()
    model = SVMEnsembleClassifier(
        KERNELS,
        n_seeds=2,
        bootstrap=True,
        voting=voting,
        approximation="nystroem",
        n_components=12,
        random_state=0,
    )
    before = np.random.get_state()  # noqa: NPY002
    first = clone(model).fit(X.iloc[:60], y[:60])
    other = clone(model).set_params(n_jobs=3).fit(X.iloc[:60], y[:60])
    assert differences(state(first), state(other)) == []
    double = clone(model).fit(X.iloc[:60].astype(np.float64), y[:60])
    assert differences(state(first), state(double)) == []
    assert differences(list(before), list(np.random.get_state())) == []  # noqa: NPY002
    reseeded = clone(model).set_params(random_state=1).fit(X.iloc[:60], y[:60])
    assert differences(state(first), state(reseeded))
    changed = changed_rows(X, y, np.arange(60, 90))
    held = clone(model).fit(changed[0].iloc[:60], changed[1][:60])
    assert differences(state(first), state(held)) == []
    leaky = clone(model).fit(changed[0].iloc[:61], changed[1][:61])
    assert differences(state(first), state(leaky))
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(
        again.decision_function(X), first.decision_function(X)
    )
    assert "12 landmarks" in repr(again.members_[1])
    assert len(first.support_vectors_) <= 24
    # Unlabelled rows change nothing but the numbers of the rows
    marked = y.astype(object)
    marked[60:] = None
    partly = clone(model).fit(X, marked)
    np.testing.assert_array_equal(
        partly.decision_function(X), first.decision_function(X)
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_with_landmarks_comes_from_other_clips(n_classes):
    X, y = frame(60)
    y = np.random.default_rng(3).permutation(np.arange(60) % n_classes)
    model = SVMEnsembleClassifier(
        ["rbf", "linear"],
        n_seeds=1,
        C=1e3,
        gamma=5.0,
        voting="soft",
        approximation="nystroem",
        random_state=0,
    )
    copies = X.loc[np.repeat(X.index, 4)]
    together = clone(model).fit(copies, np.repeat(y, 4))
    apart = clone(model).fit(copies.to_numpy(), np.repeat(y, 4))
    sure = together.predict_proba(X).max(axis=1).mean()
    assert sure < 0.75
    assert sure + 0.1 < apart.predict_proba(X.to_numpy()).max(axis=1).mean()
    alone = y.astype("U8")
    alone[5] = "neutral"
    with pytest.warns(UserWarning, match=r"\['neutral'\] have a single clip"):
        proba = clone(model).fit(X, alone).predict_proba(X)
    assert np.isfinite(proba).all()


def test_too_few_steps_are_warned_of():
    X, y = drawn(3)
    model = SVMEnsembleClassifier(
        ["rbf"], n_seeds=1, approximation="nystroem", max_iter=1
    )
    with pytest.warns(ConvergenceWarning, match="Nystroem features have not conv"):
        model.fit(X, y)
    assert model.n_iter_ == 1
    assert model.set_params(max_iter=-1).fit(X, y).n_iter_ > 1


def test_routing_of_metadata_changes_nothing():
    X, y = drawn(3, n_rows=60)
    model = SVMEnsembleClassifier(n_seeds=2, voting="soft", random_state=0)
    expected = clone(model).fit(X, y).predict_proba(X)
    with config_context(enable_metadata_routing=True):
        routed = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(routed, expected)
