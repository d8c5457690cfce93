import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from skmer.datasets._evidence import (
    _MISTAKEN,
    EMOTIONS,
    MODALITIES,
    RELIABILITY,
    bayes_scores,
    best_decisions,
    confusion,
    scores_of,
)

MISSING = {"video": 0.1, "audio": 0.05, "text": 0.2}


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("reliability", [0.2, 0.72, 1.0])
def test_confusion_is_a_conditional_distribution(modality, reliability):
    table = confusion(modality, reliability)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(table), reliability)
    assert table.min() >= 0


def test_modalities_mistake_different_classes():
    # What each class is most often mistaken for differs between any two.
    likeliest = np.array([np.argmax(_MISTAKEN[m], axis=1) for m in MODALITIES])
    for c, name in enumerate(EMOTIONS):
        assert len(set(likeliest[:, c])) == len(MODALITIES), name
        assert c not in likeliest[:, c], name


def _simulate(prior, tables, missing, n, rng):
    """Draw classes and evidence; decide each clip by its own log likelihoods."""
    y = rng.choice(len(prior), size=n, p=prior)
    names = list(tables)
    lacks = rng.choice(
        [*names, ""], size=n, p=[*missing.values(), 1 - sum(missing.values())]
    )
    with np.errstate(divide="ignore"):
        logs = {name: np.log(table) for name, table in tables.items()}
        every = np.tile(np.log(prior), (n, 1))
    alone = {}
    for name in names:
        draws = rng.random((n, 1))
        shown = (draws > np.cumsum(tables[name], axis=1)[y]).sum(axis=1)
        evidence = logs[name][:, np.minimum(shown, 5)].T
        alone[name] = (np.log(prior) + evidence).argmax(axis=1)
        every += np.where((lacks == name)[:, None], 0, evidence)
    return y, lacks, alone, every.argmax(axis=1)


@pytest.mark.parametrize("prior", [np.full(6, 1 / 6), np.arange(1, 7) / 21])
def test_bayes_scores_agree_with_simulation(prior):
    tables = {name: confusion(name, RELIABILITY[name]) for name in MODALITIES}
    scores = bayes_scores(prior, tables, MISSING)
    rng = np.random.default_rng(0)
    y, lacks, alone, every = _simulate(prior, tables, MISSING, 200_000, rng)
    has_all = lacks == ""
    expected = {name: (y, guess) for name, guess in alone.items()}
    expected["complete"] = (y[has_all], every[has_all])
    expected["every"] = (y, every)
    assert list(scores.index) == [*MODALITIES, "complete", "every"]
    for name, (truth, guess) in expected.items():
        row = scores.loc[name]
        assert row["accuracy"] == pytest.approx(accuracy_score(truth, guess), abs=0.004)
        f1 = f1_score(truth, guess, average="weighted")
        assert row["weighted_f1"] == pytest.approx(f1, abs=0.004)


def test_default_strength_of_the_evidence():
    tables = {name: confusion(name, RELIABILITY[name]) for name in MODALITIES}
    missing = dict.fromkeys(MODALITIES, 0.05)
    scores = bayes_scores(np.full(6, 1 / 6), tables, missing)["weighted_f1"]
    assert scores[list(MODALITIES)].between(0.6, 0.75).all()
    assert scores["every"] > 0.9
    assert scores["complete"] > scores["every"]


def test_best_decisions_without_evidence_take_the_largest_class():
    prior = np.array([0.2, 0.5, 0.3])
    joint = best_decisions(prior, [])
    np.testing.assert_allclose(joint, np.outer(prior, [0, 1, 0]))
    accuracy, f1 = scores_of(joint)
    assert accuracy == pytest.approx(0.5)
    assert f1 == pytest.approx(0.5 * (2 * 0.5 / 1.5))


def test_best_decisions_by_hand():
    # Shown 0: 0.6 * 0.7 = 0.42 against 0.4 * 0.2 = 0.08; shown 1: 0.18, 0.32.
    joint = best_decisions([0.6, 0.4], [np.array([[0.7, 0.3], [0.2, 0.8]])])
    np.testing.assert_allclose(joint, [[0.42, 0.18], [0.08, 0.32]])
