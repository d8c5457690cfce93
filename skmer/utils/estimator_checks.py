"""Checks that an encoder of clips behaves as the rest of skmer expects.

scikit-learn's common checks feed numbers and so say next to nothing about
transformers of paths; these are their counterpart for clips.
"""

import pickle
import tempfile
import traceback
import warnings
from functools import wraps
from inspect import isclass, signature
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion
from sklearn.utils.validation import check_is_fitted

from skmer.exceptions import ExtractionWarning, MediaError

__all__ = ["check_clip_encoder", "clip_encoder_checks"]

# What ClipEncoder asks every child to take; the checks set them.
_SHARED = ("n_jobs", "batch_size", "cache", "on_error", "verbose")
# Largest relative difference of one clip's features between two ways of
# computing them.
TOLERANCE = 1e-5


def check_clip_encoder(encoder, clips):
    """Run every check of :func:`clip_encoder_checks` on an encoder.

    Parameters
    ----------
    encoder : estimator
        Unfitted encoder of clips; never changed.
    clips : list of str of length >= 4
        Readable clips (paths, or texts for an encoder of text) of which at least
        three give different features.

    Raises
    ------
    AssertionError
        If a check fails, or the encoder does in the midst of one. Says which check,
        and how; what was raised is its cause.

    Examples
    --------
    >>> from skmer.encoders import TextEncoder
    >>> from skmer.utils.estimator_checks import check_clip_encoder
    >>> check_clip_encoder(TextEncoder(), ["so glad", "go away", "I see", "oh no"])
    """
    for check in clip_encoder_checks():
        check(encoder, clips)


def clip_encoder_checks():
    """Return the checks, for use with ``pytest.mark.parametrize``.

    Returns
    -------
    checks : list of callable
        Each is called as ``check(encoder, clips)`` and raises AssertionError.
    """
    found = [value for name, value in globals().items() if name.startswith("_check_")]
    return [_named(check) for check in found]


def _named(check):
    """Make a check tell its name, and what went wrong, in the error's last line."""

    @wraps(check)
    def run(encoder, clips):
        try:
            check(encoder, clips)
        except Exception as error:
            kind = encoder.__name__ if isclass(encoder) else type(encoder).__name__
            what = check.__name__.removeprefix("_check_").replace("_", " ")
            raise AssertionError(
                f"{kind} fails the check {what!r}: {_told(error)}"
            ) from error

    return run


def _told(error):
    """Return what an error says, or, of a bare assertion, what was asserted."""
    words = str(error)
    if not words:
        words = traceback.extract_tb(error.__traceback__)[-1].line or ""
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return kind + words


class _Fresh:
    """Clones of an encoder, each with an empty cache of its own."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.folder = tempfile.TemporaryDirectory()
        self.made = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for twin in self.made:
            twin._store().close()
        self.folder.cleanup()

    def __call__(self, **params):
        params.setdefault("cache", str(Path(self.folder.name) / str(len(self.made))))
        self.made.append(clone(self.encoder).set_params(**params))
        return self.made[-1]


def _rows(features):
    return features.to_numpy() if hasattr(features, "to_numpy") else features


def _same(one, two):
    """Compare two outputs to the tolerance, NaN and None equal to themselves."""
    one, two = _rows(one), _rows(two)
    assert one.shape == two.shape, f"{one.shape} is not {two.shape}"
    if one.dtype == object:
        for a, b in zip(one.ravel(), two.ravel(), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                _close(np.asarray(a), np.asarray(b))
    else:
        _close(one, two)


def _close(a, b):
    assert a.shape == b.shape
    assert (np.isnan(a) == np.isnan(b)).all(), "NaN in other places"
    a, b = np.nan_to_num(a.astype(float)), np.nan_to_num(b.astype(float))
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0), 1e-30)
    difference = np.abs(a - b).max(initial=0) / scale
    assert difference <= TOLERANCE, f"features differ by {difference:.2g} relative"


def _check_it_is_an_encoder_of_clips(encoder, clips):
    assert not isclass(encoder) and hasattr(encoder, "_encode"), (
        f"it is no instance of a child of skmer.clips.ClipEncoder: {encoder!r:.80}"
    )
    lacking = sorted(set(_SHARED) - set(encoder.get_params(deep=False)))
    assert not lacking, (
        f"its __init__ lacks {', '.join(lacking)}. List all of {', '.join(_SHARED)} "
        "there and pass them to super().__init__, as in the example of ClipEncoder: "
        "scikit-learn reads an estimator's parameters off its own __init__."
    )
    assert not isinstance(clips, str) and len(clips) >= 4, (
        f"the checks need a list of at least 4 clips. Got {clips!r:.80}"
    )


def _check_constructor_only_stores(encoder, clips):
    params = encoder.get_params(deep=False)
    assert list(signature(type(encoder).__init__).parameters)[1:] == sorted(
        params, key=list(signature(type(encoder).__init__).parameters).index
    )
    twin = clone(encoder)
    assert vars(twin).keys() == params.keys(), "__init__ must only store parameters"
    assert repr(twin) == repr(encoder)


def _check_fit_changes_no_parameter(encoder, clips):
    with _Fresh(encoder) as fresh:
        twin = fresh()
        before = {name: repr(value) for name, value in twin.get_params().items()}
        assert twin.fit(clips) is twin
        twin.transform(clips)
        assert before == {n: repr(v) for n, v in twin.get_params().items()}
        check_is_fitted(twin)


def _check_rows_are_clips(encoder, clips):
    with _Fresh(encoder) as fresh:
        features = _rows(fresh().fit_transform(clips))
        assert features.ndim == 2 and len(features) == len(clips)
        if features.dtype != object:
            assert features.dtype == np.float32
            assert not np.isnan(features).all(axis=1).any(), "a clip gave nothing"
            assert len(np.unique(features, axis=0)) >= 3, "clips look all the same"


def _check_containers(encoder, clips):
    column = encoder._column
    series = pd.Series(clips, index=[f"id{i}" for i in range(len(clips))], dtype=object)
    with _Fresh(encoder) as fresh:
        twin = fresh()
        expected = twin.transform(clips)
        for X in (
            tuple(clips),
            np.asarray(clips),
            np.asarray(clips, dtype=object),
            np.asarray(clips, dtype=object)[:, None],
            pd.Series(clips),
            series,
            series.to_frame(column),
            series.to_frame("anything"),
            pd.DataFrame({"other": 1, column: clips}),
        ):
            _same(twin.transform(X), expected)
        if column != "text":
            _same(twin.transform([Path(clip) for clip in clips]), expected)


def _check_names_and_set_output(encoder, clips):
    index = [f"id{i}" for i in range(len(clips))]
    with _Fresh(encoder) as fresh:
        twin = fresh()
        names = twin.get_feature_names_out()
        plain = twin.transform(clips)
        assert len(names) == plain.shape[1] == len(set(names))
        assert all(isinstance(name, str) for name in names)
        frame = twin.set_output(transform="pandas").transform(
            pd.Series(clips, index=index, dtype=object)
        )
        assert list(frame.columns) == list(names)
        assert list(frame.index) == index
        _same(frame, plain)
        union = FeatureUnion([("one", twin), ("two", twin)])
        frame = union.set_output(transform="pandas").fit_transform(clips)
        assert frame.shape == (len(clips), 2 * len(names))
        assert list(frame.columns[: len(names)]) == [f"one__{n}" for n in names]


def _check_order_and_company_do_not_matter(encoder, clips):
    order = np.random.default_rng(0).permutation(len(clips))
    with _Fresh(encoder) as fresh:
        expected = _rows(fresh().transform(clips))
        _same(fresh().transform([clips[i] for i in order]), expected[order])
        alone = [_rows(fresh().transform([clip])) for clip in clips]
        _same(np.concatenate(alone), expected)
        twice = [clips[0], *clips, clips[0]]
        rows = _rows(fresh().transform(twice))
        _same(rows[[0, -1]], expected[[0, 0]])


def _check_batch_size_does_not_matter(encoder, clips):
    with _Fresh(encoder) as fresh:
        expected = fresh(batch_size=1).transform(clips)
        for batch_size in (2, len(clips), 10 * len(clips)):
            _same(fresh(batch_size=batch_size).transform(clips), expected)


def _check_cache_does_not_matter(encoder, clips):
    with _Fresh(encoder) as fresh:
        expected = fresh(cache=None).transform(clips)
        twin = fresh()
        twin.transform(clips[:2])
        _same(twin.transform(clips), expected)
        _same(twin.transform(clips), expected)
        _same(clone(twin).transform(clips), expected)


def _start_new_workers():
    """Stop what workers there are, for joblib to start others.

    One left from before that grows by a model counts as leaking, and joblib stops it
    with a warning.
    """
    get_reusable_executor().shutdown(wait=True)


def _check_processes_do_not_matter(encoder, clips):
    _start_new_workers()
    with _Fresh(encoder) as fresh:
        expected = fresh().transform(clips)
        _same(fresh(n_jobs=2, batch_size=1).transform(clips), expected)


def _check_threads_do_not_matter(encoder, clips):
    with _Fresh(encoder) as fresh:
        expected = fresh().transform(clips)
        with joblib.parallel_config(backend="threading", n_jobs=2):
            _same(fresh(batch_size=1).transform(clips), expected)
        twin = fresh()
        runs = joblib.Parallel(n_jobs=4, backend="threading")(
            joblib.delayed(twin.transform)(clips) for _ in range(4)
        )
        for run in runs:
            _same(run, expected)


def _check_clone_and_pickle(encoder, clips):
    with _Fresh(encoder) as fresh:
        twin = fresh().fit(clips)
        expected = twin.transform(clips)
        data = pickle.dumps(twin)
        assert len(data) < 20_000, (
            f"a pickle of {len(data)} bytes holds more than it may"
        )
        _same(pickle.loads(data).transform(clips), expected)
        _same(clone(twin).transform(clips), expected)


def _check_missing_clips_are_rows_of_nan(encoder, clips):
    with _Fresh(encoder) as fresh:
        twin = fresh()
        expected = _rows(twin.transform(clips[:2]))
        for missing in (None, np.nan, pd.NA):
            rows = _rows(twin.fit_transform([clips[0], missing, clips[1]]))
            _same(rows[[0, 2]], expected)
            assert pd.isna(rows[1]).all()
        assert pd.isna(_rows(twin.transform([None]))).all()


def _check_no_clip_at_all_is_an_error(encoder, clips):
    with _Fresh(encoder) as fresh:
        _raises(ValueError, fresh().fit, [None, None], encoder._column)
        _raises(ValueError, fresh().fit_transform, [None, None], encoder._column)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rows = _rows(fresh(on_error="nan").fit_transform([None, None]))
        assert pd.isna(rows).all()
        assert [w.category for w in caught] == [ExtractionWarning]


def _check_bad_input_is_refused(encoder, clips):
    with _Fresh(encoder) as fresh:
        for method in (fresh().fit, fresh().transform):
            _raises(ValueError, method, [], "0 sample")
            _raises(TypeError, method, clips[0], "list")
            _raises(TypeError, method, [clips[0], 3], "Clip 1")
            _raises(TypeError, method, 3, "int")
            _raises(ValueError, method, pd.DataFrame({"a": clips, "b": 1}), "a, b")
            _raises(ValueError, method, np.zeros((3, 2)), "(3, 2)")
        _raises(ValueError, fresh(on_error="ignore").fit, clips, "on_error")


def _check_unreadable_clips(encoder, clips):
    if encoder._column == "text":
        return
    with _Fresh(encoder) as fresh:
        bad = str(Path(fresh.folder.name) / "broken.mp4")
        Path(bad).write_bytes(b"no media file at all" * 50)
        gone = str(Path(fresh.folder.name) / "gone.mp4")
        for path in (bad, gone):
            twin = fresh()
            _raises(MediaError, twin.transform, [*clips[:2], path], path)
            _same(twin.transform(clips[:2]), fresh().transform(clips[:2]))
        twin = fresh(on_error="nan")
        X = [clips[0], gone, clips[1], bad]
        for _ in range(2):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                rows = _rows(twin.transform(X))
            assert [w.category for w in caught] == [ExtractionWarning]
            assert "2 of 4" in str(caught[0].message)
            assert pd.isna(rows[[1, 3]]).all()
            _same(rows[[0, 2]], fresh().transform(clips[:2]))
        table = twin.failures(X)
        assert list(table["clip"]) == [gone, bad]
        assert list(table.index) == [1, 3]


def _check_global_random_state_is_left_alone(encoder, clips):
    with _Fresh(encoder) as fresh:
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        fresh().fit_transform(clips)
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def _raises(kind, call, argument, words):
    try:
        call(argument)
    except kind as error:
        assert words in str(error), f"{words!r} is not in: {error}"
        return
    raise AssertionError(f"{kind.__name__} was not raised for {argument!r:.80}")
