"""Losses that compare clips with each other, and the noise that makes views of them."""

import math

import torch
from torch import Tensor, nn

_SCHEDULES = ("scaled_linear", "linear")


def info_nce(
    first: Tensor,
    second: Tensor,
    temperature: Tensor | float = 0.1,
    *,
    positives: Tensor | None = None,
    mask: Tensor | None = None,
    normalize: bool = True,
    symmetric: bool = True,
) -> Tensor:
    r"""Contrast two views of the same clips.

    A clip's two codes are to be more alike than codes of different clips. For the
    first view as anchor, with :math:`s_{kj}` the similarity of the first code of
    clip k and the second of clip j, and :math:`P_k` the positives of k,

    .. math::

        L = -\frac{1}{B} \sum_k \frac{1}{|P_k|} \sum_{p \in P_k}
            \log \frac{\exp(s_{kp} / \tau)}{\sum_j \exp(s_{kj} / \tau)}

    Parameters
    ----------
    first, second : Tensor of shape (batch, n_codes)
        The two views, row by row of the same clips.
    temperature : Tensor of shape () or float, default=0.1
        What similarities are divided by; above 0.
    positives : Tensor of shape (batch, batch), dtype bool, or None
        Which codes of the second view (columns) are positives of which of the first
        (rows); None: those of the same clip. Anchors without one do not count.
    mask : Tensor of shape (batch,), dtype bool, or None
        False where a clip lacks one of the views: it is then neither an anchor nor
        a negative of others. None: all have both.
    normalize : bool, default=True
        Whether codes are scaled to length 1, which makes similarities cosines.
    symmetric : bool, default=True
        Add the same with the second view as anchor: the sum of both directions, as
        in [2]_; half of it is the form of CLIP. False: first view as anchor only.

    Returns
    -------
    loss : Tensor of shape ()
        0 where no anchor has a positive. About log(batch) a direction for codes
        that know nothing of each other.

    References
    ----------
    .. [1] A. van den Oord et al., "Representation Learning with Contrastive
       Predictive Coding", 2018. :arxiv:`1807.03748`.
    .. [2] Q. Fan et al., "Leveraging Contrastive Learning and Self-Training for
       Multimodal Emotion Recognition with Limited Labeled Samples", 2024, equation
       3. :arxiv:`2409.04447`. Changed: codes have length 1; several positives, which
       are averaged outside of the logarithm; masked clips.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import info_nce
    >>> codes = torch.eye(4)
    >>> round(float(info_nce(codes, codes)), 4)
    0.0003
    >>> round(float(info_nce(codes, -codes)), 2)
    22.2
    """
    if normalize:
        first = nn.functional.normalize(first, dim=1)
        second = nn.functional.normalize(second, dim=1)
    logits = first @ second.T / temperature
    if positives is None:
        positives = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    there = torch.ones_like(positives)
    if mask is not None:
        there = mask.unsqueeze(1) & mask.unsqueeze(0)
    loss = _contrast(logits, positives, there)
    if symmetric:
        loss = loss + _contrast(logits.T, positives.T, there)
    return loss


def supervised_contrast(
    codes: Tensor,
    labels: Tensor,
    temperature: Tensor | float = 0.1,
    *,
    mask: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Contrast clips by label: those of one class are each other's positives.

    Parameters
    ----------
    codes : Tensor of shape (batch, n_codes)
        One code a clip.
    labels : Tensor of shape (batch,), dtype int64
        Class of each clip; clips with a negative number have no label and are left
        out.
    temperature : Tensor of shape () or float, default=0.1
        What similarities are divided by; above 0.
    mask : Tensor of shape (batch,), dtype bool, or None
        False for clips to leave out; None leaves none out.
    normalize : bool, default=True
        Whether codes are scaled to length 1.

    Returns
    -------
    loss : Tensor of shape ()
        Mean over the clips that share their class with another; 0 where none does.

    References
    ----------
    .. [1] P. Khosla et al., "Supervised Contrastive Learning", 2020, the loss
       :math:`L_{out}`. :arxiv:`2004.11362`.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import supervised_contrast
    >>> codes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(float(supervised_contrast(codes, torch.tensor([0, 0, 1, 1]))), 4)
    0.0001
    >>> round(float(supervised_contrast(codes, torch.tensor([0, 1, 0, 1]))), 1)
    10.0
    """
    if normalize:
        codes = nn.functional.normalize(codes, dim=1)
    used = labels >= 0 if mask is None else mask & (labels >= 0)
    others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    there = used.unsqueeze(1) & used.unsqueeze(0) & others
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    return _contrast(codes @ codes.T / temperature, same, there)


def _contrast(logits: Tensor, positives: Tensor, there: Tensor) -> Tensor:
    """Return the mean over anchors (rows) of the mean over their positives."""
    positives = positives & there
    # The lowest finite number: the softmax of nothing but -inf is not a number.
    logits = logits.masked_fill(~there, torch.finfo(logits.dtype).min)
    losses = torch.where(positives, -logits.log_softmax(dim=1), 0.0).sum(dim=1)
    counts = positives.sum(dim=1)
    n_anchors = (counts > 0).sum().clamp(min=1)
    return (losses / counts.clamp(min=1)).sum() / n_anchors


class LearnedTemperature(nn.Module):
    """Temperatures that are learned as the logarithm of 1 / temperature.

    Parameters
    ----------
    n : int, default=1
        Number of temperatures.
    initial : float, default=0.1
        Where they start.
    low, high : float, default=0.01, 1.0
        Limits. At a limit, gradients pass that lead back from it, so that no
        temperature sticks there.
    """

    def __init__(
        self, n: int = 1, *, initial: float = 0.1, low: float = 0.01, high: float = 1.0
    ):
        super().__init__()
        if not 0 < low <= initial <= high:
            raise ValueError(
                "A temperature needs 0 < low <= initial <= high. Got "
                f"low={low}, initial={initial}, high={high}."
            )
        self.low = low
        self.high = high
        self.log_scale = nn.Parameter(torch.full((n,), -math.log(initial)))

    def forward(self) -> Tensor:
        """Return the temperatures.

        Returns
        -------
        temperatures : Tensor of shape (n,)
            Between ``low`` and ``high``.
        """
        low, high = -math.log(self.high), -math.log(self.low)
        return (-_Limit.apply(self.log_scale, low, high)).exp()

    def extra_repr(self) -> str:
        """Return what the layer's repr says besides its name.

        Returns
        -------
        text : str
            Number and limits.
        """
        return f"{len(self.log_scale)}, low={self.low}, high={self.high}"


class _Limit(torch.autograd.Function):
    """Clamp; beyond a limit only gradients that lead back pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values, low, high):
        return values.clamp(low, high)

    @staticmethod
    def setup_context(ctx, inputs, output):
        values, ctx.low, ctx.high = inputs
        ctx.save_for_backward(values)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        # A step goes against the gradient.
        outwards = ((values <= ctx.low) & (gradient > 0)) | (
            (values >= ctx.high) & (gradient < 0)
        )
        return gradient.masked_fill(outwards, 0.0), None, None


def noise_schedule(
    n_steps: int = 100,
    first: float = 0.001,
    last: float = 0.1,
    schedule: str = "scaled_linear",
) -> Tensor:
    r"""Return how much of a feature's variance is left after each step of noise.

    Parameters
    ----------
    n_steps : int, default=100
        Number of steps.
    first, last : float, default=0.001, 0.1
        Share of noise :math:`\beta_t` that the first and the last step add.
    schedule : {"scaled_linear", "linear"}, default="scaled_linear"
        Between them, the square root of the share grows linearly, or the share does.

    Returns
    -------
    signal : Tensor of shape (n_steps,), dtype float64
        :math:`\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)`, falling towards 0.

    References
    ----------
    .. [1] J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion Probabilistic Models",
       2020. :arxiv:`2006.11239`.

    Examples
    --------
    >>> from skmer.modules import noise_schedule
    >>> [round(float(share), 3) for share in noise_schedule()[[9, 49, 99]]]
    [0.98, 0.542, 0.022]
    """
    if schedule not in _SCHEDULES:
        raise ValueError(f"schedule must be one of {_SCHEDULES}. Got {schedule!r}.")
    if n_steps < 1 or not 0 <= first <= last < 1:
        raise ValueError(
            "noise_schedule needs n_steps >= 1 and 0 <= first <= last < 1. Got "
            f"n_steps={n_steps}, first={first}, last={last}."
        )
    power = 2 if schedule == "scaled_linear" else 1
    steps = torch.linspace(
        first ** (1 / power), last ** (1 / power), n_steps, dtype=torch.float64
    )
    return (1 - steps**power).cumprod(dim=0)


def add_noise(
    values: Tensor, signal: Tensor | float, generator: torch.Generator
) -> Tensor:
    r"""Mix features with Gaussian noise of variance 1.

    Features of variance 1 keep it; scale others to it first, or the noise is nothing
    beside them, or everything.

    Parameters
    ----------
    values : Tensor of shape (batch, size)
        Features.
    signal : Tensor of shape (batch, 1) or (), or float
        Share :math:`\bar\alpha` of the variance that is to be left, between 0 and 1.
    generator : torch.Generator
        Where the noise comes from, on the device of ``values``.

    Returns
    -------
    noisy : Tensor of shape (batch, size)
        :math:`\sqrt{\bar\alpha} x + \sqrt{1 - \bar\alpha} \epsilon`.
    """
    signal = torch.as_tensor(signal, dtype=values.dtype, device=values.device)
    noise = torch.randn(
        values.shape, generator=generator, dtype=values.dtype, device=values.device
    )
    return signal.sqrt() * values + (1 - signal).sqrt() * noise
