"""What FoldVotingClassifier hands to splitters, and what folds it makes."""

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline

from skmer.ensemble import FoldVotingClassifier
from skmer.fusion import AttentionFusionClassifier
from skmer.model_selection import ReferenceFolds, UnlabeledInTrain
from skmer.over_sampling import DropUnlabeled

CLASSES = np.array(["angry", "happy", "sad"])
LEARNER = make_sampling_pipeline(DropUnlabeled(), LogisticRegression())


@pytest.fixture
def clips():
    """36 clips of 6 speakers, whose order says nothing of either."""
    rng = np.random.default_rng(0)
    order = rng.permutation(36)
    ids = pd.Index([f"s{i // 6}_c{i}" for i in range(36)])[order]
    y = CLASSES[order % 3]
    values = rng.normal(size=(36, 2)) + (order % 3)[:, np.newaxis]
    X = pd.DataFrame(values, columns=["audio__0", "video__0"], index=ids)
    return X, y


@pytest.fixture
def speakers(clips):
    """The speaker of each clip, in an order that is not X's."""
    ids = sorted(clips[0].index)
    return pd.Series([clip[:2] for clip in ids], index=ids)


class Listener(BaseEstimator):
    """A splitter that keeps what it is given."""

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1

    def split(self, X, y=None, groups=None):
        self.given = X, y, groups
        yield np.arange(2, len(y)), np.arange(2)


def fitted(clips, cv, y=None, groups=None):
    X, given = clips
    vote = FoldVotingClassifier(LogisticRegression(), cv=cv, random_state=0)
    vote.fit(X, given if y is None else y, groups=groups)
    return vote


def speakers_of(clips, rows):
    return set(clips[0].index[rows].str[:2])


def test_a_splitter_gets_rows_labels_and_groups(clips, speakers):
    X, y = clips
    cv = Listener()
    fitted(clips, cv, groups=speakers)
    seen, labels, groups = cv.given
    pd.testing.assert_frame_equal(seen, X)
    assert list(labels) == list(y)
    assert list(groups) == list(X.index.str[:2])


def test_a_splitter_gets_labelled_rows_only(clips, speakers):
    X, y = clips
    vote = FoldVotingClassifier(LEARNER)
    some = y.astype(object)
    some[::4] = None
    for values in (X, X.to_numpy()):
        cv = Listener()
        vote.set_params(cv=cv).fit(values, some, groups=np.arange(36))
        seen, labels, groups = cv.given
        rows = np.flatnonzero(some != None)  # noqa: E711
        assert np.array_equal(seen, X.to_numpy()[rows])
        assert list(labels) == list(y[rows])
        assert list(groups) == rows.tolist()
        [(learn, rest)] = vote.folds_
        assert rest.tolist() == rows[:2].tolist()
        assert learn.tolist() == [i for i in range(36) if i not in rest]


def test_reference_folds_are_known_by_clip(clips, speakers):
    folds = ReferenceFolds(speakers)
    for learn, rest in fitted(clips, folds).folds_:
        assert len(speakers_of(clips, rest)) == 1
        assert not speakers_of(clips, rest) & speakers_of(clips, learn)


def test_paths_keep_their_ids(clips, speakers):
    paths, y = clips[0].index.tolist(), clips[1]
    bag = make_pipeline(CountVectorizer(), LogisticRegression())
    vote = FoldVotingClassifier(bag, cv=ReferenceFolds(speakers), random_state=0)
    for learn, rest in vote.fit(paths, y).folds_:
        assert not speakers_of(clips, rest) & speakers_of(clips, learn)
    vote.set_params(cv=3).fit(paths * 2, np.tile(y, 2))
    for learn, rest in vote.folds_:
        assert not set(learn % 36) & set(rest % 36)


@pytest.mark.parametrize("hold_out", [False, True])
def test_splitters_that_know_unlabelled_rows_say_where_they_go(
    clips, speakers, hold_out
):
    X, y = clips
    some = y.astype(object)
    some[::4] = None
    folds = ReferenceFolds.from_labels(
        some, clips=X, groups=speakers, n_splits=3, hold_out_groups=hold_out
    )
    divide = UnlabeledInTrain(
        LeaveOneGroupOut(), groups=speakers, hold_out_groups=hold_out
    )
    for cv in (folds, divide):
        vote = FoldVotingClassifier(LEARNER, cv=cv, random_state=0).fit(X, some)
        expected = list(cv.split(X, some))
        assert len(vote.folds_) == len(expected)
        for (learn, rest), (train, test) in zip(vote.folds_, expected, strict=True):
            np.testing.assert_array_equal(learn, train)
            np.testing.assert_array_equal(rest, test)
            apart = not speakers_of(clips, learn) & speakers_of(clips, rest)
            assert apart == hold_out


def test_copies_of_a_clip_are_on_one_side(clips):
    X, y = clips
    some = y.astype(object)
    some[:3] = None
    twice = pd.concat([X, X])
    # Copies of labelled clips without a label, which must not train either
    labels = np.concatenate([y, some])
    vote = FoldVotingClassifier(LEARNER, cv=4, random_state=0).fit(twice, labels)
    for learn, rest in vote.folds_:
        assert not set(twice.index[learn]) & set(twice.index[rest])
    held = np.concatenate([rest for _, rest in vote.folds_])
    assert sorted(held) == [i for i in range(72) if i not in range(36, 39)]
    with pytest.raises(ValueError, match="cv=5 needs as many labelled clips"):
        fitted((X.iloc[[0, 1, 2, 0, 1, 2]], y[[0, 1, 2, 0, 1, 2]]), 5)


@pytest.mark.parametrize("cv", [3, LeaveOneGroupOut()])
def test_groups_are_read_by_clip_id(clips, speakers, cv):
    for learn, rest in fitted(clips, cv, groups=speakers).folds_:
        assert not speakers_of(clips, rest) & speakers_of(clips, learn)
    by_row = np.array(clips[0].index.str[:2])
    again = fitted(clips, cv, groups=by_row).folds_
    for (learn, _), (expected, _) in zip(
        again, fitted(clips, cv, groups=speakers).folds_, strict=True
    ):
        np.testing.assert_array_equal(learn, expected)


@pytest.mark.parametrize("cv", [3, LeaveOneGroupOut()])
def test_groups_are_needed_for_labelled_rows_only(clips, speakers, cv):
    X, y = clips
    some = y.astype(object)
    some[0] = None
    vote = FoldVotingClassifier(LEARNER, cv=cv, random_state=0)
    vote.fit(X, some, groups=speakers.drop(X.index[0]))
    assert all(0 in learn for learn, _ in vote.folds_)
    for lacking, known in (
        (speakers.drop(X.index[1]), "such as 's0_c0'"),
        (speakers.reset_index(drop=True), "such as 0"),
    ):
        with pytest.raises(ValueError, match=f"no value for clip 's.*{known}"):
            vote.fit(X, some, groups=lacking)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        vote.fit(X, some, groups=np.arange(35))


def test_copies_in_different_groups_are_refused(clips):
    X, y = clips
    twice = pd.concat([X, X])
    with pytest.raises(ValueError, match="copies of clip 's.* different groups"):
        fitted((twice, np.tile(y, 2)), 3, groups=np.arange(72) // 6)


def test_labels_of_all_kinds_reach_the_splitter(clips):
    X, y = clips
    codes = pd.Series(np.searchsorted(CLASSES, y), index=X.index)
    for labels in (codes, codes.astype("Int64"), pd.Series(y, index=X.index)):
        vote = fitted(clips, StratifiedKFold(4), y=labels)
        assert len(vote.folds_) == 4


def test_folds_of_much_data_are_fitted_in_turn(clips, monkeypatch):
    X, y = clips
    vote = FoldVotingClassifier(
        AttentionFusionClassifier(hidden_size=8, max_epochs=2),
        cv=3,
        n_seeds=2,
        random_state=0,
    )
    together = clone(vote).fit(X, y)
    sizes = []
    # Where it looks names up: a module may be there twice, for the sake of doctests
    names = FoldVotingClassifier._group.__globals__
    fit_members = names["fit_members"]

    def counted(groups, jobs):
        sizes.append(len(groups[0][0]))
        return fit_members(groups, jobs)

    monkeypatch.setitem(names, "fit_members", counted)
    monkeypatch.setitem(names["in_portions"].__globals__, "_TOGETHER", 1)
    in_turn = clone(vote).fit(X, y)
    assert sizes == [2, 2, 2]
    for one, other in zip(together.estimators_, in_turn.estimators_, strict=True):
        assert one.random_state == other.random_state
        np.testing.assert_allclose(
            one.predict_proba(X), other.predict_proba(X), atol=1e-5
        )
