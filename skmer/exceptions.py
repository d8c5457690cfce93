"""Errors and warnings that skmer raises, each with what happened and what to do."""

__all__ = [
    "CacheWarning",
    "DataFileError",
    "EndpointError",
    "ExtractionWarning",
    "MediaError",
    "MediaLimitError",
    "MissingDependencyError",
    "MissingStreamError",
    "ModelFormatError",
]


class MediaError(ValueError):
    """A clip could not be read.

    Parameters
    ----------
    clip : str
        The file, or the clip id, that could not be read.
    stage : str
        What was being done: ``"open"``, ``"audio"``, ``"video"``, ``"face"``,
        ``"text"``, ``"features"`` (a file of features beside it), ``"answer"`` (of a
        language model that was asked about it) or ``"encode"``.
    reason : str
        The cause in one sentence.

    Attributes
    ----------
    clip, stage, reason : str
        As given.

    Notes
    -----
    The error pickles, so that it reaches the caller from a worker process.
    """

    def __init__(self, clip, stage, reason):
        super().__init__(clip, stage, reason)
        self.clip = str(clip)
        self.stage = stage
        self.reason = reason

    def __str__(self):
        if self.stage == "answer":
            return f"{self.clip}: no answer came: {self.reason}"
        what = f"read its {self.stage}"
        if self.stage in ("open", "encode"):
            what = f"{self.stage} it"
        return f"{self.clip}: cannot {what}: {self.reason}"


class MediaLimitError(MediaError):
    """A clip asks for more time or memory than it may take.

    Caches do not remember it: the limits are no part of what a clip is known by.

    Parameters
    ----------
    clip : str
        The file.
    stage : str
        What was being done, as for :class:`MediaError`.
    reason : str
        Which limit it meets, and how to raise that.
    """


class DataFileError(ValueError):
    """A data set's table, label file or folder is not as it must be.

    The message names the file and the rows, and says what to change.
    """


class EndpointError(OSError):
    """A server that runs a model cannot be used; the message says what to do."""


class MissingStreamError(ValueError):
    """X lacks a stream (a block of columns) that an estimator was told to use."""


class MissingDependencyError(ImportError):
    """An optional package is needed for what was asked and is not installed."""


class ModelFormatError(ValueError):
    """A model cannot be saved or loaded safely; the message says what to do."""


class CacheWarning(UserWarning):
    """The feature cache cannot be used as asked; results are right all the same."""


class ExtractionWarning(UserWarning):
    """Some clips gave no features; the message says how many and why."""
