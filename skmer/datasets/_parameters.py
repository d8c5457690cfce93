"""Check what make_clips is given, and find its seed and folder."""

import hashlib
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from skmer._config import get_config
from skmer.datasets._evidence import EMOTIONS, MODALITIES, RELIABILITY


def check_weights(weights):
    """Return the proportion of each class."""
    if weights is None:
        return (1 / len(EMOTIONS),) * len(EMOTIONS)
    array = np.asarray(weights, dtype=np.float64)
    if (
        array.shape != (len(EMOTIONS),)
        or not np.isfinite(array).all()
        or array.min() < 0
        or array.sum() <= 0
    ):
        raise ValueError(
            f"weights must be {len(EMOTIONS)} proportions, none below 0 and not all "
            f"0, one each for {', '.join(EMOTIONS)}. Got {weights!r}."
        )
    return tuple((array / array.sum()).tolist())


def check_reliability(reliability):
    """Return the reliability of each modality."""
    values = _per_modality("reliability", reliability, RELIABILITY)
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 < value <= 1):
            raise ValueError(
                f"reliability of {name!r} must be a number above 0, at most 1. "
                f"Got {value!r}."
            )
    return values


def check_missing(missing, n_clips):
    """Return how many clips lack each modality."""
    values = _per_modality("missing", missing, dict.fromkeys(MODALITIES, 0.0))
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 <= value <= 1):
            raise ValueError(
                f"missing of {name!r} must be a fraction from 0 to 1. Got {value!r}."
            )
    lacking = {name: round(value * n_clips) for name, value in values.items()}
    if sum(lacking.values()) > n_clips:
        raise ValueError(
            "missing must sum to at most 1 over the modalities, because no clip "
            f"lacks two. Got {missing!r}, which makes {sum(lacking.values())} of "
            f"{n_clips} clips."
        )
    return lacking


def _per_modality(name, given, default):
    if given is None:
        return dict(default)
    if isinstance(given, Real):
        return dict.fromkeys(MODALITIES, float(given))
    unknown = sorted(set(given) - set(MODALITIES), key=str)
    if unknown:
        raise ValueError(
            f"{name} has the key {unknown[0]!r}; its keys may be "
            f"{', '.join(MODALITIES)}."
        )
    return {key: given.get(key, default[key]) for key in MODALITIES}


def check_duration(duration):
    """Return the shortest and longest duration in seconds."""
    if (
        len(duration) != 2
        or not all(isinstance(value, Real) for value in duration)
        or not 0.5 <= duration[0] <= duration[1] <= 60
    ):
        raise ValueError(
            "duration must be (shortest, longest) in seconds, from 0.5 to 60. "
            f"Got {duration!r}."
        )
    return float(duration[0]), float(duration[1])


def check_size(size):
    """Return width and height in pixels."""
    if len(size) != 2 or not all(
        isinstance(value, Integral) and value >= 64 and value % 2 == 0 for value in size
    ):
        raise ValueError(
            "size must be (width, height) in pixels, both even ints of at least 64. "
            f"Got {size!r}."
        )
    return int(size[0]), int(size[1])


def entropy_of(random_state):
    """Return the int that seeds every stream, leaving NumPy's global state alone."""
    if random_state is None:
        return np.random.SeedSequence().entropy
    if isinstance(random_state, Integral):
        return int(random_state)
    words = random_state.randint(0, 2**32, size=4, dtype=np.uint32)
    return int.from_bytes(words.tobytes(), "little")


def make_folder(directory, settings):
    """Make the folder of the clips; its default name is a digest of settings."""
    if directory is None:
        digest = hashlib.blake2b(repr(settings).encode(), digest_size=6).hexdigest()
        directory = get_config()["data_home"] / f"make_clips-{digest}"
    folder = Path(directory).expanduser()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"directory={str(folder)!r} is a file. Give a folder to write clips to."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"cannot make the folder for the clips ({error.strerror}); give a "
            "directory that can be written, or set data_home with skmer.set_config",
            str(folder),
        ) from error
    return folder
