"""Samplers on labelled rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from imblearn import FunctionSampler
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import SMOTE, SMOTENC, RandomOverSampler
from imblearn.pipeline import Pipeline, make_pipeline
from imblearn.under_sampling import ClusterCentroids, RandomUnderSampler, TomekLinks
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.preprocessing import StandardScaler

from skmer.clips import ClipTable
from skmer.encoders import TextEncoder
from skmer.fusion import ConcatFusionClassifier
from skmer.model_selection import UnlabeledInTrain
from skmer.over_sampling import DropUnlabeled, LabeledSampler, at_least
from skmer.utils import as_object_column

OVER = RandomOverSampler(random_state=0)


def _data(n=40, unlabelled=10):
    rng = np.random.default_rng(0)
    codes = (np.arange(n) % 4 == 0).astype(int)
    X = pd.DataFrame(
        rng.normal(size=(n, 3)).astype(np.float32),
        index=[f"clip_{i}" for i in range(n)],
        columns=["audio__0", "audio__1", "text__0"],
    )
    X["audio__0"] += (2 * codes).astype(np.float32)
    y = np.array(["happy", "sad"], dtype=object)[codes]
    y[rng.permutation(n)[:unlabelled]] = None
    return X, y


@pytest.mark.parametrize(
    "sampler",
    [
        OVER,
        RandomUnderSampler(random_state=0),
        TomekLinks(),
        RandomOverSampler(random_state=0, shrinkage=0.5),
    ],
    ids=repr,
)
def test_rows_are_the_samplers_and_keep_their_ids(sampler):
    X, y = _data()
    known = pd.notna(y)
    wrapped = LabeledSampler(sampler)
    X_out, y_out = wrapped.fit_resample(X, y)
    X_theirs, y_theirs = clone(sampler).fit_resample(X[known], y[known].astype(str))
    n = len(X_theirs)
    assert np.array_equal(X_out[:n], X_theirs)
    assert y_out[:n].tolist() == y_theirs.tolist()
    # The others follow in their order
    assert X_out[n:].equals(X[~known]) and pd.isna(y_out[n:]).all()
    # Every row has its clip's id, type and label
    assert (X_out.dtypes == np.float32).all()
    assert X_out.index.equals(X.index[wrapped.sample_indices_])
    assert [a or "?" for a in y[wrapped.sample_indices_]] == [a or "?" for a in y_out]
    if sampler.get_params().get("shrinkage") is None:
        assert np.array_equal(X_out, X.iloc[wrapped.sample_indices_])
    else:
        assert not np.array_equal(X_out, X.iloc[wrapped.sample_indices_])


def test_made_up_rows_have_ids_of_their_own():
    X, y = _data()
    wrapped = LabeledSampler(SMOTE(k_neighbors=2, random_state=0))
    X_out, _ = wrapped.fit_resample(X, y)
    made_up = wrapped.sample_indices_ == -1
    assert made_up.sum() == len(X_out) - len(X) > 0
    assert X_out.index.is_unique
    assert X_out.index[made_up].tolist() == [
        f"synthetic_{i}" for i in range(made_up.sum())
    ]
    pd.testing.assert_frame_equal(X_out[~made_up].loc[X.index], X)
    # A second one goes on counting
    X_again, y_again = X_out, wrapped.fit_resample(X, y)[1]
    wanted = LabeledSampler(
        SMOTE(k_neighbors=2, random_state=1, sampling_strategy=at_least(30))
    )
    X_again, _ = wanted.fit_resample(X_out, y_again)
    assert X_again.index.is_unique


def test_equal_rows_of_two_clips_keep_their_ids():
    X, y = _data()
    X.loc["clip_4"] = X.loc["clip_8"]
    y[[4, 8]] = "sad"
    X_out, _ = LabeledSampler(SMOTE(k_neighbors=3, random_state=0)).fit_resample(X, y)
    assert set(X.index) <= set(X_out.index)


def test_integer_ids_go_on():
    X, y = _data()
    X = X.reset_index(drop=True)
    X_out, _ = LabeledSampler(SMOTE(k_neighbors=2, random_state=0)).fit_resample(X, y)
    assert pd.api.types.is_integer_dtype(X_out.index.dtype)
    assert sorted(X_out.index) == list(range(len(X_out)))


@pytest.mark.parametrize(
    "sampler",
    [SMOTEENN(random_state=0, smote=SMOTE(k_neighbors=2)), ClusterCentroids()],
    ids=repr,
)
def test_rows_are_found_again_without_sample_indices(sampler):
    X, y = _data()
    wrapped = LabeledSampler(sampler)
    X_out, y_out = wrapped.fit_resample(X, y)
    rows = wrapped.sample_indices_
    assert np.array_equal(X_out[rows >= 0], X.iloc[rows[rows >= 0]])
    left = {row.tobytes() for row in X.to_numpy()}
    assert not any(row.tobytes() in left for row in X_out[rows == -1].to_numpy())
    assert (rows == -1).any() and len(set(y_out[rows == -1]) - {"happy", "sad"}) == 0


@pytest.mark.parametrize(
    "make",
    [list, lambda p: np.array(p, dtype=object), np.array, pd.Series],
    ids=["list", "object", "str", "Series"],
)
def test_clips(make):
    paths = [f"{i}.mp4" for i in range(8)]
    y = pd.Series(["a", "b", None, "a", "a", None, "a", "a"], name="emotion")
    X = make(paths)
    wrapped = LabeledSampler(OVER)
    X_out, y_out = wrapped.fit_resample(X, y)
    assert type(X_out) is type(X)
    assert list(X_out) == [paths[i] for i in wrapped.sample_indices_]
    assert y_out.value_counts().to_dict() == {"a": 5, "b": 5}
    assert y_out.name == "emotion" and y_out.dtype == y.dtype
    assert y_out.index.tolist() == wrapped.sample_indices_.tolist()


def test_frames_of_strings_and_of_sequences():
    frame = pd.DataFrame(
        {
            "audio": ["a.wav", None, "c.wav", "d.wav"],
            "frames": as_object_column([np.ones((2, 3)), None, np.ones((4, 3)), None]),
        },
        index=list("abcd"),
    )
    X_out, y_out = LabeledSampler(OVER).fit_resample(frame, [0, 0, 1, -1])
    assert X_out.index.tolist() == ["a", "b", "c", "c", "d"]
    assert X_out["frames"].iloc[3] is frame["frames"].iloc[2]
    assert (X_out.dtypes == frame.dtypes).all() and y_out == [0, 0, 1, 1, -1]


def test_sparse_and_plain_arrays():
    X, y = _data()
    smote = LabeledSampler(SMOTE(k_neighbors=2, random_state=0))
    X_out, y_out = smote.fit_resample(X.to_numpy(), y)
    rows = smote.sample_indices_
    sparse, _ = smote.fit_resample(scipy.sparse.csr_array(X.to_numpy()), y)
    np.testing.assert_allclose(sparse.toarray(), X_out)
    np.testing.assert_array_equal(smote.sample_indices_, rows)
    assert X_out.dtype == np.float32 and y_out.dtype == object


def test_mixed_columns():
    X, y = _data()
    X["text"] = pd.Series(["yes", "no"] * 20, index=X.index, dtype=object)
    smote = SMOTENC(categorical_features=["text"], k_neighbors=2, random_state=0)
    wrapped = LabeledSampler(smote)
    X_out, _ = wrapped.fit_resample(X, y)
    found = wrapped.sample_indices_ >= 0
    pd.testing.assert_frame_equal(X_out[found].loc[X.index], X)


def test_labels_are_the_ones_given():
    X, y = _data()
    numbers = np.where(pd.isna(y), -1, (y == "sad") * 5).astype(np.int16)
    for labels, kind in [
        (numbers, np.int16),
        (pd.Series(numbers, index=X.index), np.int16),
        (pd.Series(pd.Categorical(y), index=X.index), "category"),
        (pd.Series(y, index=X.index).astype("str"), "str"),
    ]:
        X_out, y_out = LabeledSampler(OVER).fit_resample(X, labels)
        assert type(y_out) is type(labels) and y_out.dtype == kind
        if isinstance(labels, pd.Series):
            assert y_out.index.equals(X_out.index)
    assert y_out.value_counts().tolist() == [(y == "happy").sum()] * 2


def test_strategies_count_labelled_rows():
    X, y = _data()
    wrapped = LabeledSampler(
        RandomOverSampler(sampling_strategy=at_least({"sad": 15}), random_state=0)
    )
    y_out = wrapped.fit_resample(X, y)[1]
    assert (y_out == "sad").sum() == 15
    assert wrapped.sampling_strategy_ == {"sad": 15 - (y == "sad").sum()}


def test_seeds():
    X, y = _data()

    def rows(seed):
        wrapped = LabeledSampler(RandomOverSampler(random_state=seed))
        wrapped.fit(X, y)
        return wrapped.sample_indices_.tolist()

    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert rows(0) == rows(0) != rows(1)
    assert rows(None) != rows(None)
    assert np.random.random() == expected  # noqa: NPY002


def test_in_pipelines_and_searches():
    X, y = _data(80, 20)
    model = Pipeline(
        [
            ("scale", StandardScaler().set_output(transform="pandas")),
            ("sample", LabeledSampler(RandomOverSampler(random_state=0))),
            ("net", ConcatFusionClassifier(max_epochs=3, random_state=0)),
        ]
    )
    search = GridSearchCV(
        model,
        {"sample__sampler__sampling_strategy": [at_least(0.5), at_least(1.0)]},
        cv=UnlabeledInTrain(2),
        scoring="f1_macro",
        error_score="raise",
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    fitted = search.best_estimator_
    assert list(fitted["net"].feature_names_in_) == list(X.columns)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(X), fitted.predict(X))


def test_before_the_encoders(small_clips):
    y = np.array(["happy", "happy", None, "sad", None, "happy"], dtype=object)
    model = make_pipeline(
        LabeledSampler(RandomOverSampler(random_state=0)),
        DropUnlabeled(),
        ClipTable(sidecar_text=True),
        ColumnTransformer([("text", TextEncoder(n_features=32), "text")]),
        LogisticRegression(),
    )
    model.fit(small_clips.paths, y)
    assert model.classes_.tolist() == ["happy", "sad"]
    clips, labels = model[0].fit_resample(small_clips.paths, y)
    assert pd.Series(labels).value_counts().to_dict() == {"happy": 3, "sad": 3}
    assert clips.count(small_clips.paths[3]) == 3 and len(clips) == 8
    assert len(model[1].sample_indices_) == 6


def test_copies_never_reach_a_test_part_and_nothing_leaks():
    X, y = _data(60, 15)
    model = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        LabeledSampler(SMOTE(k_neighbors=2, random_state=0)),
        ConcatFusionClassifier(max_epochs=2, random_state=0),
    )
    done = cross_validate(
        model, X, y, cv=UnlabeledInTrain(3), return_indices=True, return_estimator=True
    )
    for train, test, fitted in zip(
        done["indices"]["train"],
        done["indices"]["test"],
        done["estimator"],
        strict=True,
    ):
        X_other, y_other = changed_rows(X, y, test)
        again = clone(model).fit(X_other.iloc[train], y_other[train])
        assert differences(fitted, again) == []
        assert pd.notna(y[test]).all()
    # The comparison would see a test row in training
    leaky = clone(model).fit(
        X_other.iloc[[*train, test[0]]], y_other[[*train, test[0]]]
    )
    assert differences(fitted, leaky)


def test_unlabelled_rows_do_not_matter_to_the_labelled_ones():
    X, y = _data()
    hidden = np.flatnonzero(pd.isna(y))
    changed, _ = changed_rows(X, y, hidden)
    smote = LabeledSampler(SMOTE(k_neighbors=2, random_state=0))
    first, labels = smote.fit_resample(X, y)
    second, _ = smote.fit_resample(changed, y)
    known = pd.notna(labels)
    pd.testing.assert_frame_equal(first[known], second[known])


def test_classes_with_one_row_and_one_class():
    X, y = _data(12, 0)
    y[:] = "happy"
    with pytest.raises(ValueError, match="more than 1 class"):
        LabeledSampler(OVER).fit_resample(X, y)
    y[0] = "sad"
    assert (LabeledSampler(OVER).fit_resample(X, y)[1] == "sad").sum() == 11
    with pytest.raises(ValueError, match="n_neighbors"):
        LabeledSampler(SMOTE()).fit_resample(X, y)


def test_messages():
    with pytest.raises(ValueError, match="None of the 2 rows is labelled"):
        LabeledSampler(OVER).fit_resample(["a", "b"], [-1, -1])
    with pytest.raises(ValueError, match="SMOTE cannot take a list of clips"):
        LabeledSampler(SMOTE()).fit_resample(["a", "b", "c"], [0, 1, -1])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        LabeledSampler(OVER).fit_resample(["a", "b"], [0])
    with pytest.raises(ValueError, match="'sampler' parameter of LabeledSampler"):
        LabeledSampler(LogisticRegression()).fit_resample(["a", "b"], [0, 1])
    odd = FunctionSampler(func=lambda X, y: (X, y + 1), validate=False)
    with pytest.raises(ValueError, match="labels that y does not have: \\['2'\\]"):
        LabeledSampler(odd).fit_resample(np.ones((2, 1)), np.array([0, 1]))
