"""The template of everything that turns clips into cached features."""

import warnings
from abc import abstractmethod
from numbers import Integral
from os import PathLike, fspath

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from skmer._config import get_config
from skmer.cache import config_digest, open_store, text_id
from skmer.clips._cells import COLUMNS, is_path_column, resolve_cells
from skmer.clips._extraction import encode_in_tasks, extract
from skmer.clips._named import ADVICE
from skmer.clips._sinks import Columns, Matrix, Reduced
from skmer.exceptions import ExtractionWarning
from skmer.utils._sklearn import Interval, StrOptions, _fit_context
from skmer.utils._stateless import StatelessOnClips

# How extraction runs, but not what it gives: no part of a cache key. A clip that goes
# beyond one of the limits is a MediaLimitError, which is not stored.
_RUNNING = (
    *("batch_size", "cache", "device", "n_jobs", "on_error", "verbose"),
    *("max_bytes", "max_decode_seconds", "max_pixels"),
)
# Frames from a method to who called it: scikit-learn wraps fit and transform.
_CALLER = 3


class ClipEncoder(StatelessOnClips, TransformerMixin, BaseEstimator):
    """Base class of transformers from clips to features.

    ``transform`` resolves the clips, looks their features up in the cache, computes
    those that are missing (in joblib workers where ``n_jobs`` or a
    :class:`joblib.parallel_config` says so), stores each batch as it completes and
    puts the rows together. A child says which column it reads (``_column``), what
    the features are called (``_feature_names``) and how a batch of clips is encoded
    (``_encode``). Its own ``__init__`` lists ``n_jobs``, ``batch_size``, ``cache``,
    ``on_error`` and ``verbose`` beside its own parameters and passes them on, as in
    the example: scikit-learn reads parameters (for ``clone``, ``set_params``, ``repr``
    and searches) off the ``__init__`` of the class itself.

    Parameters
    ----------
    n_jobs : int or None, default=None
        Worker processes. None is one unless a joblib context says otherwise.
    batch_size : int or "auto", default="auto"
        Clips that one task encodes and that are stored together.
    cache : "default", path or None, default="default"
        Folder of the feature cache; ``"default"`` is
        ``skmer.get_config()["cache_dir"]``, None caches nothing.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip that cannot be read: an error naming it, or a row of
        NaN and one warning with their number.
    verbose : bool, default=False
        Show a progress bar.

    Notes
    -----
    A clip that is missing, or that has no such modality (no sound, no face, no
    words), is no error: its row is NaN. Features depend on the clip alone, never on
    the other clips of a batch.

    A file that makes a decoder crash takes the process with it, and the run if that
    is the only one. With ``n_jobs=2`` or more, or on a cluster, it is a clip that
    cannot be read.

    A child that changes what ``_encode`` returns for the same parameters raises its
    ``_cache_version``, so that stale features are never read.
    :func:`skmer.utils.estimator_checks.check_clip_encoder` tells whether a child does
    all that is asked of it.

    Examples
    --------
    >>> import os
    >>> import numpy as np
    >>> from skmer.clips import ClipEncoder
    >>> class SizeEncoder(ClipEncoder):
    ...     _column = "video"  # or "audio", "text"
    ...
    ...     def __init__(
    ...         self,
    ...         unit=1024,
    ...         *,
    ...         n_jobs=None,
    ...         batch_size="auto",
    ...         cache="default",
    ...         on_error="raise",
    ...         verbose=False,
    ...     ):
    ...         self.unit = unit
    ...         super().__init__(
    ...             n_jobs=n_jobs,
    ...             batch_size=batch_size,
    ...             cache=cache,
    ...             on_error=on_error,
    ...             verbose=verbose,
    ...         )
    ...
    ...     def _feature_names(self):
    ...         return ["size"]
    ...
    ...     def _encode(self, cells):
    ...         return [np.array([os.path.getsize(c) / self.unit]) for c in cells]
    >>> SizeEncoder(cache=None).fit_transform([os.__file__]).shape
    (1, 1)
    """

    _column = "video"
    _cache_version = 1
    _auto_batch_size = 4
    # What to do where no clip gives anything; None for what suits the column.
    _remedy = None
    _parameter_constraints: dict = {
        "n_jobs": [Integral, None],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "cache": [str, PathLike, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def __init__(
        self,
        *,
        n_jobs=None,
        batch_size="auto",
        cache="default",
        on_error="raise",
        verbose=False,
    ):
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    @abstractmethod
    def _encode(self, cells):
        """Encode a batch.

        Parameters
        ----------
        cells : list of str
            Paths or texts.

        Returns
        -------
        results : list of (ndarray, Record, Exception or None)
            One a clip: its features, a record of named arrays, why it could not be
            read (a :class:`~skmer.exceptions.MediaError`, which may also be raised:
            the batch is then encoded clip by clip), or None where it has no such
            modality. ``_parts`` and ``_sequence_columns`` say where the named
            arrays of a record go.
        """

    @abstractmethod
    def _feature_names(self):
        """Return the names of all features, a list of str."""

    def _cells(self, X):
        """Return what is read of each clip of X, None where there is nothing."""
        return resolve_cells(X, self._column, type(self).__name__)

    def _sources(self, cells):
        """Return the files that hold what cells stand for, the cells as a rule.

        A record belongs to the content of its source: an encoder of files that
        only lie beside the clips names them here.
        """
        return cells

    def _identities(self, cells, store):
        """Return what identifies the content of cells.

        Parameters
        ----------
        cells : list
            From ``_cells``, without None.
        store : FeatureStore
            Knows the contents of files that it has seen.

        Returns
        -------
        identities : list of (bytes of length 16 or OSError)
            An error in place of one that cannot be read.
        """
        if is_path_column(self._column):
            return store.content_ids(self._sources(cells))
        return [text_id(text) for text in cells]

    def _parts(self):
        """Return the columns that each array of a record fills.

        Returns
        -------
        parts : dict of str to slice
            Of the columns in the order of ``_feature_names``. An array that a
            record lacks leaves its columns NaN.
        """
        return {"values": slice(None)}

    #: A method in place of ``_parts``, for records that hold more than one choice of
    #: parameters asks for: called with the stacked arrays of clips of one layout, a
    #: dict of str to ndarray of shape (n_clips, ...), it returns their rows, an
    #: ndarray of shape (n_clips, n_features).
    _reduce = None

    def _is_enough(self, arrays):
        """Tell whether stored records hold what is asked for.

        Parameters
        ----------
        arrays : dict of str to ndarray of shape (n_clips, ...)
            Stacked arrays of clips of one layout.

        Returns
        -------
        enough : bool
            If not, the clips count as absent: they are encoded again and the new
            records take the place of the old.
        """
        return True

    def _sequence_columns(self):
        """Return names of record arrays that become object cells, or None.

        Returns
        -------
        columns : list of str or None
            None if features are numbers. Else one column a name, in the order of
            ``_feature_names``.
        """
        return None

    def _key_params(self):
        """Return everything that decides what ``_encode`` returns, as a dict."""
        return {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name not in _RUNNING
        }

    def _clips_per_task(self):
        size = self.batch_size
        return self._auto_batch_size if size == "auto" else size

    def _results(self, cells, stop):
        """Encode clips; yield what is done as it is done.

        Parameters
        ----------
        cells : list of str
            Paths or texts.
        stop : callable
            Tells whether to begin nothing more.

        Yields
        ------
        numbers : list of int
            Which cells, in any order.
        results : list
            What ``_encode`` returns for them.
        """
        return encode_in_tasks(self, cells, stop)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X; nothing is learned and nothing is decoded.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            As for :meth:`transform`.
        y : None
            Ignored.

        Returns
        -------
        self : ClipEncoder

        Raises
        ------
        ValueError
            If no clip at all has this modality and ``on_error="raise"``.
        """
        cells = self._cells(X)
        if all(cell is None for cell in cells):
            advice = getattr(X, "attrs", {}).get(ADVICE, {})
            self._complain_all_missing(len(cells), advice=advice)
        return self

    def fit_transform(self, X, y=None):
        """Fit to X and transform it.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            As for :meth:`transform`.
        y : array-like of shape (n_clips,), default=None
            Labels; used only by encoders that learn.

        Returns
        -------
        features : ndarray or DataFrame of shape (n_clips, n_features)

        Raises
        ------
        ValueError
            If no clip at all gives a feature and ``on_error="raise"``.
        """
        features = self.fit(X, y).transform(X)
        values = features.to_numpy() if hasattr(features, "to_numpy") else features
        if len(values) > 1 and not _has_value(values):
            cells = self._cells(X)
            if any(cell is not None for cell in cells):
                self._complain_all_missing(len(cells), found="usable in the files")
        return features

    def transform(self, X):
        """Encode clips, reading from the cache what is there.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            Paths for sound and picture, words for text. A frame gives its column
            ``audio``, ``video`` or ``text``.

        Returns
        -------
        features : ndarray of shape (n_clips, n_features), dtype float32
            One row a clip, in order; a DataFrame with ``set_output``. Encoders that
            return sequences give dtype object.

        Raises
        ------
        MediaError
            If a clip cannot be read and ``on_error="raise"``. What was encoded
            before it stays in the cache.
        TypeError, ValueError
            If X is no sequence of clips.
        """
        features, failures = self._extract(X, raising=self.on_error == "raise")
        self._complain_of(failures, len(features), "are rows of NaN")
        return features

    def failures(self, X):
        """List the clips that cannot be read.

        Reads the cache and computes only what is not in it; after
        ``transform(X)`` with a cache that is next to nothing.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of clips, or DataFrame, of length n_clips
            As for :meth:`transform`.

        Returns
        -------
        table : DataFrame of shape (n_failures, 3)
            Columns ``clip``, ``stage`` and ``error``; the index is the row's
            position in X, or X's own index.
        """
        _, failures = self._extract(X, raising=False)
        index = [failure.position for failure in failures]
        if isinstance(X, (pd.DataFrame, pd.Series)):
            index = X.index[index]
        rows = [(failure.clip, failure.stage, failure.reason) for failure in failures]
        return pd.DataFrame(
            rows, columns=["clip", "stage", "error"], index=index, dtype=object
        )

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_features,)
        """
        return np.asarray(self._feature_names(), dtype=object)

    def _extract(self, X, *, raising):
        self._validate_params()
        cells = self._cells(X)
        store = self._store()
        sink = self._sink(len(cells), store)
        failures = extract(
            self, cells, store, self._namespace(), sink, stop_at_failure=raising
        )
        return sink.finish(), failures

    def _sink(self, n_clips, store):
        """Return where the values of records go."""
        sequences = self._sequence_columns()
        if sequences is not None:
            return Columns(n_clips, sequences, store)
        n_features = len(self._feature_names())
        if self._reduce is not None:
            return Reduced(n_clips, n_features, self._reduce)
        return Matrix(n_clips, n_features, self._parts())

    def _store(self):
        folder = self.cache
        if folder == "default":
            folder = get_config()["cache_dir"]
        return open_store(None if folder is None else fspath(folder))

    def _namespace(self):
        kind = type(self)
        return config_digest(
            {
                "encoder": f"{kind.__module__}.{kind.__qualname__}",
                "version": self._cache_version,
                "params": self._key_params(),
            }
        )

    def _complain_of(self, failures, n_clips, outcome):
        """Warn of the clips that could not be read, called by what the user calls."""
        if failures:
            first = failures[0]
            warnings.warn(
                f"{type(self).__name__}: {len(failures)} of {n_clips} clips could not "
                f"be read and {outcome}, the first: {first.clip}: {first.stage}: "
                f"{first.reason}. failures(X) lists them.",
                ExtractionWarning,
                stacklevel=_CALLER + 1,
            )

    def _complain_all_missing(self, n_clips, found="given", advice=None):
        advice = advice or {}
        remedy = advice.get(self._column, self._remedy or _REMEDY[self._column])
        lacking = {self._column, *advice}
        others = tuple(name for name in sorted(COLUMNS) if name not in lacking)
        example = f", as in streams={others}" if others else ""
        message = (
            f"{type(self).__name__}: none of the {n_clips} clips has {self._column} "
            f"{found}. {remedy}, or leave this encoder out (of a recipe by its streams "
            f"parameter{example})"
        )
        if self.on_error == "raise":
            raise ValueError(message + ", or get rows of NaN by on_error='nan'.")
        message += "; now all rows are NaN."
        warnings.warn(message, ExtractionWarning, stacklevel=_CALLER + 1)


_REMEDY = {
    "audio": "Check that the files have a sound stream",
    "video": (
        "Check that the files have a picture (and a face where regions has 'face')"
    ),
    "text": (
        "Put transcripts beside the clips and use ClipTable(sidecar_text=True), which "
        "a recipe takes as sidecar_text=True, give a frame with a column 'text'"
    ),
}


def _has_value(values):
    return not pd.isna(values).all()
