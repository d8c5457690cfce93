"""Whatever a user calls clips, as one table."""

import os
import warnings

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from skmer.clips._cells import COLUMNS, resolve_cells
from skmer.clips._named import ADVICE, advice_on_names, refuse_features
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import find_transcript, read_transcript
from skmer.utils import as_object_column
from skmer.utils._sklearn import StrOptions, _fit_context
from skmer.utils._stateless import StatelessOnClips
from skmer.utils._suffixes import AUDIO_SUFFIXES


class ClipTable(StatelessOnClips, TransformerMixin, BaseEstimator):
    """Turn clips into a frame with the columns video, audio and text.

    The first step of a pipeline that starts from files. The frame's index is the
    clip id: the index of X where X is a frame or a Series, else the path. It stays
    with a row through the whole pipeline, so that whatever else is known of a clip
    (speaker, second opinions on its label, weights) can be looked up by it.

    Parameters
    ----------
    sidecar_text : bool, default=False
        Fill missing text from a ``.txt``, ``.srt`` or ``.vtt`` file beside the clip
        with the same stem. Off by default because such files sometimes hold labels.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a transcript that cannot be read: an error naming it, or a
        clip without words and one warning with their number.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X, where X has columns.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where X is a frame.

    See Also
    --------
    skmer.datasets.make_clips : Makes clips to try things on.

    Notes
    -----
    A frame may have any of the three columns; the others are ignored. ``audio`` is
    filled from ``video``, for the sound of a video file is in that file. A path in a
    list goes to ``audio`` alone if its suffix is one of a sound file. The result is
    a :class:`pandas.DataFrame` whatever ``set_output`` says, unless that is
    ``"polars"``. Nothing is read but the sidecar files, and nothing is checked to
    exist: that is done by the encoders, which can leave out what cannot be read.

    Examples
    --------
    >>> from skmer.clips import ClipTable
    >>> ClipTable().fit_transform(["a.mp4", "b.wav"])
           video  audio  text
    a.mp4  a.mp4  a.mp4  None
    b.wav   None  b.wav  None
    """

    _parameter_constraints: dict = {
        "sidecar_text": ["boolean"],
        "on_error": [StrOptions({"raise", "nan"})],
    }

    def __init__(self, *, sidecar_text=False, on_error="raise"):
        self.sidecar_text = sidecar_text
        self.on_error = on_error

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check X; nothing is learned.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
            Clips.
        y : None
            Ignored.

        Returns
        -------
        self : ClipTable
        """
        clip_columns(X, "ClipTable")
        vars(self).pop("feature_names_in_", None)
        vars(self).pop("n_features_in_", None)
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray([str(c) for c in X.columns], object)
            self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        """Make the table.

        Parameters
        ----------
        X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
            Clips. In a frame the cells of ``video`` and ``audio`` are paths, those
            of ``text`` words; None or NaN where a clip has none.

        Returns
        -------
        table : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` and ``text``, of dtype object, with str or
            None in every cell.

        Raises
        ------
        TypeError
            If X is no sequence of clips or a cell is neither path nor missing.
        ValueError
            If X is empty, or a frame with none of the three columns.
        MediaError
            If a transcript cannot be read and ``on_error="raise"``.
        """
        columns, index = clip_columns(X, "ClipTable")
        if self.sidecar_text:
            columns["text"] = self._with_sidecars(columns)
        table = clip_frame(columns, index)
        if isinstance(X, pd.DataFrame) and X.shape[1] > 1:
            # Words alone may be all that is wanted: only encoders know
            advice = advice_on_names(X)
            if advice:
                table.attrs[ADVICE] = advice
        return table

    def get_feature_names_out(self, input_features=None):
        """Return the names of the table's columns.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (3,)
        """
        return np.asarray(COLUMNS, dtype=object)

    def _with_sidecars(self, columns):
        texts, failures = [], []
        for text, video, audio in zip(
            columns["text"], columns["video"], columns["audio"], strict=True
        ):
            path = video if video is not None else audio
            if text is None and path is not None:
                try:
                    sidecar = find_transcript(path)
                    text = None if sidecar is None else read_transcript(sidecar)
                except MediaError as error:
                    if self.on_error == "raise":
                        raise
                    failures.append(error)
            texts.append(text)
        if failures:
            warnings.warn(
                f"ClipTable: {len(failures)} of {len(texts)} clips have a transcript "
                f"that could not be read and count as without words, the first: "
                f"{failures[0]}",
                ExtractionWarning,
                stacklevel=4,
            )
        return texts


def clip_columns(X, owner):
    """Return the columns of a table of clips, and its index.

    Parameters
    ----------
    X : list, 1-D ndarray or Series of paths, or DataFrame, of length n_clips
        As for :meth:`ClipTable.transform`.
    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    columns : dict of str to list of (str or None)
        All of ``video``, ``audio`` and ``text``.
    index : Index or list
        The clips' ids.
    """
    if isinstance(X, pd.DataFrame) and (len(X.columns) != 1 or X.columns[0] in COLUMNS):
        return _from_frame(X, owner), X.index
    paths = resolve_cells(X, "video", owner)
    sound = [path is not None and _is_sound(path) for path in paths]
    columns = {
        "video": [None if s else p for p, s in zip(paths, sound, strict=True)],
        "audio": paths,
        "text": [None] * len(paths),
    }
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return columns, X.index
    return columns, [p or f"(missing {i})" for i, p in enumerate(paths)]


def clip_frame(columns, index):
    """Return a table of clips.

    Parameters
    ----------
    columns : dict of str to list of (str or None)
        As :func:`clip_columns` returns them.
    index : Index or list
        The clips' ids.

    Returns
    -------
    table : DataFrame of shape (n_clips, 3)
        Of dtype object.
    """
    # Object columns made one by one: pandas would make strings of them, and NaN of
    # None.
    return pd.DataFrame(
        {name: as_object_column(columns[name]) for name in COLUMNS},
        index=pd.Index(index),
        dtype=object,
    )


def _from_frame(X, owner):
    has = [name for name in COLUMNS if name in X.columns]
    if not has:
        refuse_features(X, owner)
        raise ValueError(
            f"{owner} needs at least one of the columns video, audio and text. "
            f"{advice_on_names(X)['video']}."
        )
    columns = {name: resolve_cells(X, name, owner) for name in has}
    for name in COLUMNS:
        columns.setdefault(name, [None] * len(X))
    columns["audio"] = [
        audio if audio is not None else video
        for audio, video in zip(columns["audio"], columns["video"], strict=True)
    ]
    return columns


def _is_sound(path):
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES
