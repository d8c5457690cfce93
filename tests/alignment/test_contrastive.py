"""ContrastiveAligner on paired data whose common part is known."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from skmer.alignment import ContrastiveAligner
from skmer.exceptions import MissingStreamError

N = 600


def pairs(n=N, noise=0.1, seed=0):
    """A frame whose two streams are different maps of one common part."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 8))
    audio = np.tanh(common @ rng.normal(size=(8, 12))) + noise * rng.normal(
        size=(n, 12)
    )
    video = common @ rng.normal(size=(8, 10)) + noise * rng.normal(size=(n, 10))
    X = pd.DataFrame(
        np.hstack([3 * audio + 5, rng.normal(size=(n, 2)), 10 * video]),
        index=[f"clip{i}" for i in range(n)],
        columns=[f"audio__{i}" for i in range(12)]
        + ["text__0", "text__1"]
        + [f"video__face__{i}" for i in range(10)],
    )
    return X.astype(np.float32)


def small(**params):
    return ContrastiveAligner(
        **{"random_state": 0, "max_epochs": 40, "lr": 3e-3, **params}
    )


def test_held_out_pairs_are_found():
    X = pairs()
    learn, test = X[:400], X[400:]
    aligner = small().fit(learn)
    assert aligner.retrieval(test) >= 10 / len(test)
    assert aligner.retrieval(test) > 0.5
    assert aligner.retrieval(test, k=5) > aligner.retrieval(test)
    assert aligner.score(test) == aligner.retrieval(test)


def test_permuted_pairs_teach_nothing():
    X = pairs()
    learn, test = X[:400].copy(), X[400:]
    video = [c for c in X if c.startswith("video")]
    order = np.random.default_rng(1).permutation(len(learn))
    learn[video] = learn[video].to_numpy()[order]
    assert small().fit(learn).retrieval(test) < 5 / len(test)


def test_retrieval_is_that_of_the_cosines_in_the_output():
    X = pairs()
    aligner = small().fit(X[:400]).set_output(transform="pandas")
    test = X[400:]
    out = aligner.transform(test)
    mapped = out.filter(like="aligned").to_numpy(np.float64)
    target = test.filter(like="audio__").to_numpy(np.float64)
    mean = X[:400].filter(like="audio__").to_numpy(np.float64)
    learnt = aligner.module_.target_mean.numpy(), aligner.module_.target_scale.numpy()
    # The means of the pairs that were learnt from, not of those that were watched
    assert np.allclose(learnt[0], mean.mean(axis=0), atol=0.5)
    mapped, target = ((part - learnt[0]) / learnt[1] for part in (mapped, target))
    cosines = (mapped / np.linalg.norm(mapped, axis=1, keepdims=True)) @ (
        target / np.linalg.norm(target, axis=1, keepdims=True)
    ).T
    own = np.arange(len(test))
    found = [(c.argmax(axis=1) == own).mean() for c in (cosines, cosines.T)]
    assert aligner.retrieval(test) == pytest.approx(np.mean(found), abs=1e-9)


def test_other_columns_stay_and_names_tell_what_is_new():
    X = pairs()
    out = small(max_epochs=2).set_output(transform="pandas").fit_transform(X)
    assert out.columns.tolist() == [
        *[f"audio__{i}" for i in range(12)],
        "text__0",
        "text__1",
        *[f"video__aligned{i}" for i in range(12)],
    ]
    pd.testing.assert_frame_equal(out.iloc[:, :14], X.iloc[:, :14])
    assert out.index.equals(X.index)
    assert (out.dtypes == np.float32).all()


def test_the_result_lies_where_the_target_does():
    X = pairs()
    out = small().set_output(transform="pandas").fit_transform(X)
    audio = out.filter(like="audio__").to_numpy()
    mapped = out.filter(like="aligned").to_numpy()
    assert np.allclose(mapped.mean(), audio.mean(), atol=0.5)
    assert 0.7 < mapped.std() / audio.std() < 1.3


def test_missing_streams():
    X = pairs()
    X.iloc[:50, :12] = np.nan
    X.iloc[50:80, 14] = np.nan
    aligner = small(max_epochs=2).set_output(transform="pandas").fit(X)
    assert aligner.n_pairs_ == N - 80
    out = aligner.transform(X)
    mapped = out.filter(like="aligned").isna()
    assert mapped.iloc[50:80].to_numpy().all()
    assert not mapped.drop(index=X.index[50:80]).to_numpy().any()
    assert out.iloc[:50, :12].isna().to_numpy().all()


def test_rows_without_a_pair_have_no_say():
    X = pairs()
    X.iloc[:50, :12] = np.nan
    other, _ = changed_rows(X, np.zeros(N), range(50))
    other.iloc[:50, :12] = np.nan
    first, second = small(max_epochs=2).fit(X), small(max_epochs=2).fit(other)
    assert not differences(first, second)


def test_labels_have_no_say_and_held_out_rows_neither():
    X = pairs()
    y = np.arange(N) % 3
    X2, y2 = changed_rows(X, y, range(400, N))
    fits = [small(max_epochs=2).fit(x[:400], t[:400]) for x, t in ((X, y), (X2, y2))]
    assert not differences(*fits)
    assert not differences(small(max_epochs=2).fit(X), small(max_epochs=2).fit(X, y))
    assert differences(small(max_epochs=2).fit(X), small(max_epochs=2).fit(X2))


def test_seeds_repeat_and_global_randomness_is_left_alone():
    X = pairs()
    before = np.random.mtrand._rand.get_state()[1].copy(), torch.get_rng_state()
    first = small(max_epochs=3).fit(X).transform(X)
    assert (np.random.mtrand._rand.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(first, small(max_epochs=3).fit(X).transform(X))
    other = small(max_epochs=3, random_state=1).fit(X).transform(X)
    assert not np.array_equal(first, other)


def test_rows_do_not_depend_on_their_batch():
    X = pairs()
    aligner = small(max_epochs=2).fit(X)
    whole = aligner.transform(X)
    alone = np.vstack([aligner.transform(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, whole[:20], rtol=1e-4, atol=1e-4)


def test_variants_differ():
    X = pairs()
    paper = small(variant="paper", max_epochs=3).fit(X)
    mapped = paper.transform(X)[:, 14:]
    assert (mapped >= 0).all() and (mapped > 0).any()
    assert (paper.module_.target_mean == 0).all()
    assert (small(max_epochs=3).fit(X).transform(X)[:, 14:] < 0).any()


def test_what_was_fitted_stays_until_the_next_fit():
    X = pairs()
    aligner = small(max_epochs=1).fit(X)
    before, names = aligner.transform(X), aligner.get_feature_names_out()
    aligner.set_params(source="audio", target="text", variant="paper")
    assert np.array_equal(aligner.transform(X), before)
    assert list(aligner.get_feature_names_out()) == list(names)


def test_a_share_of_less_than_a_clip_or_group():
    X = pairs(60)
    assert small(train_split=0.01, max_epochs=1).fit(X).training_.best_epoch is None
    groups = pd.Series(np.arange(60) % 20, index=X.index)
    aligner = small(train_split=0.01, max_epochs=1, groups=groups).fit(X)
    assert aligner.training_.best_epoch == 1


def test_copies_of_a_clip_are_watched_or_learnt_from_together():
    X = pairs(60)
    learn, watched = small()._divide(np.repeat(np.arange(30), 6), 0)
    assert not set(learn // 6) & set(watched // 6) and len(watched)
    copies = X.iloc[np.repeat(np.arange(60), 3)]
    groups = pd.Series(np.arange(60) // 2, index=X.index)
    assert small(groups=groups, max_epochs=2).fit(copies).n_pairs_ == 180


def test_streams_by_position_for_nameless_columns():
    X = pairs().to_numpy()
    streams = {"audio": slice(0, 12), "video": slice(14, 24)}
    aligner = small(streams=streams).fit(X[:400])
    assert aligner.retrieval(X[400:]) > 0.5
    assert aligner.get_feature_names_out()[13:15].tolist() == ["x13", "video__aligned0"]


def test_messages():
    X = pairs(40)
    with pytest.raises(MissingStreamError, match="no stream 'sound'"):
        small(target="sound").fit(X)
    with pytest.raises(MissingStreamError, match="no column names"):
        small().fit(X.to_numpy())
    with pytest.raises(ValueError, match="source and target are both 'audio'"):
        small(source="audio").fit(X)
    with pytest.raises(ValueError, match="does not say which columns 'audio' has"):
        small(streams={"video": slice(0, 3)}).fit(X)
    with pytest.raises(ValueError, match="groups has no value for clip 'clip0'"):
        small(groups=pd.Series({"clip1": "a"})).fit(X)
    nothing = X.copy()
    nothing.iloc[1:, :12] = np.nan
    with pytest.raises(ValueError, match="at least two clips that have both .* Got 1"):
        small().fit(nothing)
    with pytest.raises(ValueError, match="None of the 39 clips has both"):
        small(max_epochs=1).fit(X).retrieval(nothing[1:])


def test_what_is_no_table_of_features():
    X = pairs(40)
    fitted = small(max_epochs=1).fit(X)
    clips = [f"clips/{i}.mp4" for i in range(40)]
    sequences = X.astype(object)
    sequences["video__face__0"] = [np.zeros((i + 1, 3)) for i in range(40)]
    as_lists = sequences.map(lambda cell: np.asarray(cell).tolist())
    for step in (small().fit, fitted.transform, fitted.retrieval):
        for table in (clips, pd.Series(clips), pd.DataFrame({"audio": clips, "n": 1})):
            with pytest.raises(ValueError, match="Aligner needs features.*clips/0.mp4"):
                step(table)
        for table in (sequences, as_lists, sequences.to_numpy()):
            with pytest.raises(ValueError, match="sequence.* pooling='mean'"):
                step(table)
    # Numbers in columns of objects are features, missing ones too.
    numbers = X.astype(object)
    numbers.iloc[3, :12] = None
    assert np.isfinite(fitted.transform(numbers)[5]).all()


@pytest.mark.parametrize(
    ("k", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)],
)
def test_pairs_that_count_as_found(k, error):
    X = pairs(40)
    aligner = small(max_epochs=1).fit(X)
    with pytest.raises(error, match="k"):
        aligner.retrieval(X, k=k)
    assert aligner.retrieval(X, k=np.int64(40)) == 1.0


def test_divergence_says_what_helps():
    X = pairs(40)
    with pytest.raises(ValueError, match=r"Aligner diverged: .* is nan\. Lower lr\.$"):
        small(lr=1e30).fit(X)
    with pytest.raises(ValueError, match=r"Lower lr, or take variant='sound'"):
        small(lr=1e30, variant="paper").fit(X)


def test_clone_pickle_and_search():
    X = pairs()
    aligner = small(max_epochs=3).fit(X)
    again = pickle.loads(pickle.dumps(aligner))
    assert np.array_equal(again.transform(X), aligner.transform(X))
    assert not hasattr(clone(aligner), "module_")
    # No two-column grid: the longer of two trainings finds more pairs
    search = GridSearchCV(small(), {"max_epochs": [1, 20]}, cv=KFold(3)).fit(X)
    assert search.best_params_ == {"max_epochs": 20}
