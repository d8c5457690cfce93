import copy

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.fusion import AttentionFusionClassifier, ContrastiveFusionClassifier
from skmer.semi_supervised import AgreementSelfTrainingClassifier
from skmer.semi_supervised._steps import continues, marked, own_params, stack


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    codes = np.arange(120) % 3
    values = rng.normal(size=(120, 6)) + 1.5 * np.eye(6)[codes]
    names = [f"{m}__{i}" for m in ("audio", "text") for i in range(3)]
    X = pd.DataFrame(values, columns=names, index=[f"c{i}" for i in range(120)])
    return X, np.where(np.arange(120) < 30, codes, -1)


NET = AttentionFusionClassifier(
    hidden_size=8, stream_heads=8, max_epochs=3, random_state=0
)
TAKE = {"threshold": None, "n_per_class": 8}


def _weights(net):
    return [p.detach().clone() for p in net.module_.parameters()]


def test_a_network_goes_on_with_a_lower_rate(clips):
    X, y = clips
    model = AgreementSelfTrainingClassifier(
        NET, GaussianNB(), second_params={"lr": 5e-5, "max_epochs": 2}, **TAKE
    ).fit(X, y)
    net = model.estimator_
    assert len(net.history_) == 5 and net.lr == 5e-5
    assert {group["lr"] for group in net.optimizer_.param_groups} == {5e-5}
    taken = model.labeled_iter_ >= 0
    by_hand = clone(NET).fit(X[:30], y[:30])
    first = _weights(by_hand)
    by_hand.set_params(lr=5e-5, max_epochs=2, warm_start=True)
    by_hand.fit(X[taken], model.transduction_[taken])
    np.testing.assert_array_equal(net.predict_proba(X), by_hand.predict_proba(X))
    moved = [
        float((a - b).abs().max()) for a, b in zip(first, _weights(net), strict=True)
    ]
    assert 0 < max(moved) < 0.01  # steps of the lower rate, from the first's weights
    assert model.estimator_.warm_start is False and NET.lr == 1e-3


def test_from_scratch_where_it_is_asked_for(clips):
    X, y = clips
    model = AgreementSelfTrainingClassifier(
        NET,
        continue_from_first=False,
        second_params={"max_epochs": 4},
        **TAKE,
    ).fit(X, y)
    taken = model.labeled_iter_ >= 0
    anew = clone(NET).set_params(max_epochs=4).fit(X[taken], model.transduction_[taken])
    assert len(model.estimator_.history_) == 4
    np.testing.assert_array_equal(model.predict_proba(X), anew.predict_proba(X))


def test_each_round_goes_on(clips):
    X, y = clips
    model = AgreementSelfTrainingClassifier(
        NET, GaussianNB(), n_rounds=3, second_params={"max_epochs": 1}, **TAKE
    ).fit(X, y)
    assert model.n_iter_ == 3
    assert len(model.estimator_.history_) == 3 + 3


@pytest.mark.parametrize("name", ["lr", "attentionfusionclassifier__lr"])
def test_steps_of_a_pipeline_stay_as_they_were(clips, name):
    X, y = clips
    pipeline = make_pipeline(StandardScaler(), NET).set_output(transform="pandas")
    model = AgreementSelfTrainingClassifier(
        pipeline, second_params={name: 5e-5}, **TAKE
    ).fit(X, y)
    scaler = StandardScaler().fit(X[:30])
    np.testing.assert_array_equal(model.estimator_[0].mean_, scaler.mean_)
    assert model.estimator_[-1].optimizer_.param_groups[0]["lr"] == 5e-5
    assert len(model.estimator_[-1].history_) == 6


def test_samplers_of_a_pipeline_draw_in_each_step(clips):
    X, y = clips
    y = y.copy()
    y[np.flatnonzero(y == 2)[2:]] = -1
    seen = []

    class Seen(SGDClassifier):
        def fit(self, X, y, **params):
            seen.append(np.bincount(y).tolist())
            return super().fit(X, y, **params)

    pipeline = make_sampling_pipeline(
        StandardScaler(), RandomOverSampler(), Seen(loss="log_loss")
    )
    AgreementSelfTrainingClassifier(pipeline, random_state=0, **TAKE).fit(X, y)
    assert seen[0] == [10, 10, 10] and seen[1] == [18, 18, 18]


def test_scikit_learns_networks_go_on(clips):
    X, y = clips
    network = MLPClassifier((8,), max_iter=40, tol=0, random_state=0)
    network.set_params(n_iter_no_change=1000)
    params = {"max_iter": 5, "learning_rate_init": 1e-4}
    with pytest.warns(Warning, match="Maximum iterations"):
        model = AgreementSelfTrainingClassifier(
            network, second_params=params, **TAKE
        ).fit(X, y)
        first = clone(network).fit(X[:30], y[:30])
        by_hand = copy.deepcopy(first).set_params(warm_start=True, **params)
        taken = model.labeled_iter_ >= 0
        by_hand.fit(X[taken], model.transduction_[taken])
    for a, b in zip(model.estimator_.coefs_, by_hand.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    largest = np.abs(model.estimator_.coefs_[0] - first.coefs_[0]).max()
    assert 0 < largest < 0.01


def test_partial_fit_where_there_is_nothing_else(clips):
    X, y = clips
    model = AgreementSelfTrainingClassifier(
        GaussianNB(), continue_from_first=True, pseudo_weight=0.5, **TAKE
    ).fit(X, y)
    taken = model.labeled_iter_ >= 0
    weight = np.where(model.labeled_iter_ == 1, 0.5, 1.0)[taken]
    by_hand = GaussianNB().fit(X[:30], y[:30])
    by_hand.partial_fit(X[taken], model.transduction_[taken], sample_weight=weight)
    np.testing.assert_allclose(model.estimator_.theta_, by_hand.theta_)


def test_who_can_go_on():
    able = [NET, SGDClassifier(), MLPClassifier(), make_pipeline(StandardScaler(), NET)]
    for model in able:
        assert continues(model, "auto", {}) and not continues(model, False, {})
    unable = [LogisticRegression(), GaussianNB(), RandomForestClassifier()]
    assert not any(continues(model, "auto", {}) for model in unable)
    assert continues(LogisticRegression(), True, {})
    with pytest.raises(ValueError, match="RandomForestClassifier has neither"):
        continues(RandomForestClassifier(), True, {})


def test_parameters_of_the_second_step_are_checked_first(clips):
    X, y = clips
    pipeline = make_pipeline(StandardScaler(), NET)
    assert own_params(pipeline, {"lr": 1}) == {"attentionfusionclassifier__lr": 1}
    step = "attentionfusionclassifier"
    wide = {f"{step}__optimizer__betas": (0.8, 0.9), "optimizer__eps": 1e-6}
    names = [f"{step}__optimizer__betas", f"{step}__optimizer__eps"]
    assert list(own_params(pipeline, wide)) == names
    nested = make_pipeline(pipeline)
    assert list(own_params(nested, {"lr": 1})) == [f"pipeline__{step}__lr"]
    model = AgreementSelfTrainingClassifier(pipeline, second_params={"rate": 1})
    with pytest.raises(ValueError, match="'rate', which is no parameter of Attention"):
        model.fit(X, y)
    model.set_params(second_params={"standardscaler__with_mean": False})
    with pytest.raises(ValueError, match="stays as it was fitted"):
        model.fit(X, y)
    assert not hasattr(model, "estimator_")


def test_networks_that_learn_from_all_rows(clips):
    X, y = clips
    net = ContrastiveFusionClassifier(
        hidden_size=8, stream_heads=None, max_epochs=2, pretrain_epochs=3
    )
    seen = []

    class Seen(ContrastiveFusionClassifier):
        def _pretrain(self, table, rows):
            seen.append(len(rows))
            return super()._pretrain(table, rows)

    net = Seen(**net.get_params())
    model = AgreementSelfTrainingClassifier(
        net, random_state=0, pass_unlabeled=True, **TAKE
    ).fit(X, y)
    assert seen == [120] and len(model.estimator_.history_) == 4
    model.set_params(pass_unlabeled=False).fit(X, y)
    assert seen[1:] == [30]


@pytest.mark.parametrize("kind", ["frame", "series", "sparse", "array", "list"])
def test_stack_keeps_the_kind(kind):
    make = {
        "frame": lambda a: pd.DataFrame({"a": a}, index=[f"c{v}" for v in a]),
        "series": lambda a: pd.Series(a, index=[f"c{v}" for v in a]),
        "sparse": lambda a: sparse.csr_matrix(np.array(a)[:, np.newaxis]),
        "array": np.array,
        "list": list,
    }[kind]
    whole = stack(make([1, 2]), make([3]))
    expected = make([1, 2, 3])
    assert type(whole) is type(expected)
    if kind in ("frame", "series"):
        assert whole.equals(expected)
    elif kind == "sparse":
        assert (whole != expected).nnz == 0
    else:
        assert list(whole) == list(expected)


def test_marks_by_kind_of_label():
    codes = np.array([1, -1, 0])
    assert marked(codes, np.array([3, 7])).tolist() == [7, -1, 3]
    assert marked(codes, np.array([-1, 1])).tolist() == [1, None, -1]
    assert marked(np.array([0, -1]), np.array([1])).tolist() == [1, None]
    assert marked(codes, np.array([3, 7], dtype=np.uint8)).tolist() == [7, None, 3]
    assert marked(codes, np.array(["a", "b"])).tolist() == ["b", None, "a"]
    assert marked(np.array([1, 0]), np.array(["a", "b"])).dtype.kind == "U"
