"""Noise-embedding augmentation of feature frames."""

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy
from sklearn.utils.validation import validate_data

from skmer._streams import resolve_streams
from skmer.over_sampling._base import BaseLabelSampler
from skmer.utils._features import refuse_clips
from skmer.utils._seeds import draw_seeds
from skmer.utils._sklearn import Interval, StrOptions


class NoiseEmbeddingSampler(BaseLabelSampler, BaseOverSampler):
    r"""Make copies of clips whose features are mixed with Gaussian noise.

    The copy of a row :math:`F` is :math:`N = \sqrt{\bar\alpha_t} F +
    \sqrt{1 - \bar\alpha_t}\, \epsilon` with :math:`\bar\alpha_t = \prod_{i \le t}
    (1 - \beta_i)`, the forward process of diffusion models, at a step :math:`t` drawn
    at random for each row and stream.

    Parameters
    ----------
    sampling_strategy : float, str, dict, callable or None, default="auto"
        How many rows classes are to have, as for imbalanced-learn's over-samplers:
        ``"auto"`` brings all up to the largest one, :func:`at_least` to a number or a
        share of the largest, a dict of class to number of rows to these. None: only
        ``n_copies`` counts.
    n_copies : int, default=0
        Noisy copies of every labelled row, made before ``sampling_strategy`` counts.
    n_steps : int, default=100
        Number of steps T of the schedule.
    first, last : float, default=0.001, 0.1
        Share of noise :math:`\beta_t` that the first and the last step add.
    schedule : {"scaled_linear", "linear"}, default="scaled_linear"
        Between them, the square root of the share grows linearly, or the share does.
    step : {"row", "call"} or int, default="row"
        Which step the noise is of. ``"row"``: drawn for each copy and stream;
        ``"call"``: drawn once for all copies of a stream, as MR-CCL's code does for
        a batch; an int from 1 to ``max_step``: that one. The paper writes T, at which
        hardly anything of a clip is left.
    max_step : int, default=None
        Largest step that is drawn; None is ``n_steps``.
    streams : None, sequence of str or dict, default=None
        The blocks of columns that get noise, each of a step of its own, as for the
        fusion classifiers: None reads them from the column names, a sequence names
        them, a dict gives each one's columns as a slice, names or indices. Columns of
        no stream are copied as they are.
    random_state : int, RandomState instance or None, default=None
        Seed; None takes a fresh one from the operating system.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,), dtype float64
        Mean and standard deviation of each column over the labelled rows that have a
        value; 0.0 where none has.
    signal_ : ndarray of shape (n_steps,), dtype float64
        :math:`\bar\alpha_t` after each step.
    streams_ : dict of str to ndarray of int64
        Column indices of each stream.
    sampling_strategy_ : dict of class to int, or None
        How many copies ``sampling_strategy`` asked for.
    sample_indices_ : ndarray of shape (n_rows_out,), dtype int64
        Row of X that each row is, or is a copy of.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names.

    See Also
    --------
    skmer.fusion.ContrastiveFusionClassifier : Learns to tell such copies of a clip
        from those of others.
    LabeledSampler : Runs imbalanced-learn's samplers.

    Notes
    -----
    The schedule is for features of mean 0 and variance 1. Each column is therefore
    taken in units of its standard deviation around its mean, and given back in its
    own: a frame that is z-scored already gets the formula as it stands.

    The rows of X come first, unlabelled ones in their places, then the copies. A copy
    has its clip's id and label, so that splitters that go by clip or group keep it
    with its clip. A class's rows take turns: none has two copies more than another.
    Missing values stay missing. Unlabelled rows get no copies, and means and standard
    deviations do not depend on them. float32 stays float32, other numbers become
    float64.

    References
    ----------
    .. [1] Q. Fan et al., "Leveraging Contrastive Learning and Self-Training for
       Multimodal Emotion Recognition with Limited Labeled Samples", 2024.
       :arxiv:`2409.04447`. Changed: the paper contrasts such views with each other;
       here they are rows with labels, and each has a step of its own.
    .. [2] J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion Probabilistic Models",
       2020. :arxiv:`2006.11239`.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmer.over_sampling import NoiseEmbeddingSampler
    >>> X = pd.DataFrame(
    ...     {"audio__0": [0.0, 1.0, 2.0], "text__0": [1.0, 2.0, np.nan]},
    ...     index=["a.mp4", "b.mp4", "c.mp4"],
    ... )
    >>> sampler = NoiseEmbeddingSampler(random_state=0)
    >>> X_more, y_more = sampler.fit_resample(X, ["sad", "sad", "happy"])
    >>> X_more.index.tolist(), y_more
    (['a.mp4', 'b.mp4', 'c.mp4', 'c.mp4'], ['sad', 'sad', 'happy', 'happy'])
    >>> bool(X_more["audio__0"].iloc[3] == 2.0), bool(X_more.iloc[3].isna()["text__0"])
    (False, True)
    """

    _sampling_type = "over-sampling"
    _parameter_constraints: dict = {
        **BaseOverSampler._parameter_constraints,
        "sampling_strategy": [
            *BaseOverSampler._parameter_constraints["sampling_strategy"],
            None,
        ],
        "n_copies": [Interval(Integral, 0, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "first": [Interval(Real, 0, 1, closed="left")],
        "last": [Interval(Real, 0, 1, closed="left")],
        "schedule": [StrOptions({"scaled_linear", "linear"})],
        "step": [
            StrOptions({"row", "call"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "max_step": [Interval(Integral, 1, None, closed="left"), None],
        "streams": [None, "array-like", Mapping],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        n_copies=0,
        n_steps=100,
        first=0.001,
        last=0.1,
        schedule="scaled_linear",
        step="row",
        max_step=None,
        streams=None,
        random_state=None,
    ):
        self.sampling_strategy = sampling_strategy
        self.n_copies = n_copies
        self.n_steps = n_steps
        self.first = first
        self.last = last
        self.schedule = schedule
        self.step = step
        self.max_step = max_step
        self.streams = streams
        self.random_state = random_state

    def _fit_resample(self, X, labelled, classes, codes):
        refuse_clips(self, X)
        values = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            reset=True,
        )
        names = getattr(self, "feature_names_in_", None)
        self.streams_ = resolve_streams(self.streams, names, values.shape[1])
        self.signal_ = self._schedule()
        self.mean_, self.scale_ = _moments(values[labelled])
        rng = np.random.default_rng(draw_seeds(self.random_state, 1)[0])
        sources = self._sources(labelled, classes, codes, rng)
        copies = self._noisy(values[sources], rng)
        rows = np.concatenate([np.arange(len(values)), sources])
        sampled = np.concatenate([values, copies])
        return _as_type_of(X, sampled), rows, codes[rows]

    def _schedule(self):
        largest = self.n_steps if self.max_step is None else self.max_step
        step = self.step if isinstance(self.step, Integral) else 1
        if not self.first <= self.last or not step <= largest <= self.n_steps:
            raise ValueError(
                "The schedule needs first <= last and step <= max_step <= n_steps. Got "
                f"first={self.first}, last={self.last}, step={self.step!r}, "
                f"max_step={self.max_step}, n_steps={self.n_steps}."
            )
        power = 2 if self.schedule == "scaled_linear" else 1
        roots = np.linspace(
            self.first ** (1 / power), self.last ** (1 / power), self.n_steps
        )
        return np.cumprod(1 - roots**power)

    def _sources(self, labelled, classes, codes, rng):
        """Return the rows to copy: all rows n_copies times, then class by class."""
        rows = np.flatnonzero(labelled)
        sources = [np.tile(rows, self.n_copies)]
        self.sampling_strategy_ = None
        if self.sampling_strategy is not None:
            counted = classes[np.repeat(codes[rows], 1 + self.n_copies)]
            self.sampling_strategy_ = check_sampling_strategy(
                self.sampling_strategy, counted, self._sampling_type
            )
            code_of = {label: code for code, label in enumerate(classes.tolist())}
            for label, n_wanted in self.sampling_strategy_.items():
                own = np.flatnonzero(codes == code_of[label])
                n_rounds = -(-n_wanted // len(own))
                turns = [rng.permutation(own) for _ in range(n_rounds)]
                sources.append(np.concatenate([own[:0], *turns])[:n_wanted])
        return np.concatenate(sources)

    def _noisy(self, rows, rng):
        largest = self.n_steps if self.max_step is None else self.max_step
        for columns in self.streams_.values():
            if isinstance(self.step, Integral):
                steps = np.full((len(rows), 1), self.step)
            elif self.step == "call":
                steps = np.full((len(rows), 1), rng.integers(1, largest + 1))
            else:
                steps = rng.integers(1, largest + 1, size=(len(rows), 1))
            signal = self.signal_[steps - 1].astype(rows.dtype)
            mean = self.mean_[columns].astype(rows.dtype)
            noise = rng.standard_normal((len(rows), len(columns)), dtype=rows.dtype)
            noise *= self.scale_[columns].astype(rows.dtype)
            centred = rows[:, columns] - mean
            rows[:, columns] = (
                mean + np.sqrt(signal) * centred + np.sqrt(1 - signal) * noise
            )
        return rows

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags


def _moments(values):
    """Return mean and standard deviation of what each column has, 0.0 for nothing."""
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / counts
    squares = np.where(known, values - mean, 0) ** 2
    return mean, np.sqrt(squares.sum(axis=0, dtype=np.float64) / counts)


def _as_type_of(X, values):
    """Return rows in the type of X; of numbers that are no floats, float64 is left."""
    if isinstance(X, list):
        return values.tolist()
    if not isinstance(X, pd.DataFrame):
        return values
    frame = pd.DataFrame(values, columns=X.columns)
    changed = {
        name: dtype
        for name, dtype in X.dtypes.items()
        if dtype != values.dtype and pd.api.types.is_float_dtype(dtype)
    }
    return frame.astype(changed) if changed else frame
