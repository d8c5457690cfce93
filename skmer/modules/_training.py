"""The training loop of networks that are no classifiers."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn
from tqdm.auto import tqdm

from skmer.modules._random import RandomSource
from skmer.modules._seeded import seeded

_ADVICE = "Standardise what is learnt from, lower the learning rate, or clip gradients."
# Classes that have a fused form.
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)


@dataclass(frozen=True)
class Training:
    """What :func:`train` tells about a training.

    Parameters
    ----------
    history : list of dict of str to float
        For each epoch, ``loss``, the mean of its parts by their names and, where
        something was watched, ``watched``.
    best_epoch : int or None
        Epoch whose weights were kept, from 1; None if nothing was watched.
    stopped : {"max_epochs", "patience"}
        Why training ended.
    """

    history: list[dict[str, float]]
    best_epoch: int | None
    stopped: str


def train(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor | Mapping[str, Tensor]],
    batches: Callable[[torch.Generator], Sequence[Tensor]],
    *,
    random_source: RandomSource,
    watch: Callable[[], float] | None = None,
    parameters: Iterable | None = None,
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    max_epochs: int = 30,
    patience: int | None = None,
    gradient_clip_norm: float | None = None,
    gradient_clip_value: float | None = None,
    own_randomness: bool = True,
    n_threads: int | None = 1,
    verbose: int = 0,
    description: str = "Training",
    advice: str | None = None,
) -> Training:
    """Train a module on a loss of one's own.

    Ends after ``max_epochs`` or when patience runs out. The module is in evaluation
    mode then.

    Parameters
    ----------
    module : torch.nn.Module
        What to train, where it is to be trained: it is not moved to another device.
    loss : callable
        ``loss(rows)`` returns the mean loss of the clips that ``rows`` (Tensor of
        int64, on the module's device) numbers: a Tensor of shape (), or a mapping of
        names to such parts, whose sum is made small.
    batches : callable
        ``batches(generator)`` returns the batches of an epoch, a Tensor of int64
        each, drawn with that generator; see :func:`shuffled_batches`.
    random_source : RandomSource
        Where the order comes from, and all else the module draws.
    watch : callable or None, default=None
        ``watch()`` returns a number that is to be low; called after each epoch, with
        the module in evaluation mode and without gradients. The weights of the epoch
        with the lowest number are kept. None keeps the last epoch's.
    parameters : iterable of Parameter or of dict, or None
        What the optimiser changes, in groups if wanted; None takes all parameters
        of the module that require gradients.
    optimizer : type, default=torch.optim.Adam
        Class of the optimiser; its fused form is used where torch has one.
    lr : float, default=1e-3
        Learning rate.
    weight_decay : float, default=0.0
        Weight decay.
    max_epochs : int, default=30
        Epochs at most.
    patience : int or None, default=None
        Epochs without a new lowest ``watch()``, or, where nothing is watched, mean
        loss, before training ends; None never ends it early.
    gradient_clip_norm, gradient_clip_value : float or None, default=None
        Limit of the norm of all gradients together, or of each one's size.
    own_randomness : bool, default=True
        Whether the module draws from ``random_source`` only. False: it draws from
        torch's global generator, which is then seeded from the source and put back
        afterwards; such trainings wait for each other where they run in threads.
    n_threads : int or None, default=1
        Threads of the training on the CPU; None: torch's own setting.
    verbose : int, default=0
        1 shows a progress bar.
    description : str, default="Training"
        What the bar and errors call this training.
    advice : str or None, default=None
        What the error of a training that diverges tells the user to do; None is
        general advice.

    Returns
    -------
    training : Training
        History, best epoch and why it ended.

    Raises
    ------
    ValueError
        If there is nothing to train or no batch, or the loss is not finite.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import RandomSource, linear, shuffled_batches, train
    >>> source = RandomSource(0)
    >>> layer = linear(2, 1, source)
    >>> X = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> y = X.sum(dim=1, keepdim=True)
    >>> done = train(
    ...     layer,
    ...     lambda rows: (layer(X[rows]) - y[rows]).square().mean(),
    ...     shuffled_batches(64, 16),
    ...     random_source=source,
    ...     lr=0.05,
    ... )
    >>> len(done.history), done.history[-1]["loss"] < 1e-3
    (30, True)
    """
    groups = (
        [p for p in module.parameters() if p.requires_grad]
        if parameters is None
        else list(parameters)
    )
    if not groups:
        raise ValueError(
            f"{description}: no parameter of {type(module).__name__} requires "
            "gradients, so there is nothing to train."
        )
    device = next(module.parameters()).device
    settings = {"lr": lr, "weight_decay": weight_decay}
    if optimizer in _FUSED:
        settings["fused"] = device.type in ("cpu", "cuda")
    stepper = optimizer(groups, **settings)
    run = _Run(module, stepper, loss, gradient_clip_norm, gradient_clip_value)
    randomness = contextlib.nullcontext()
    if not own_randomness:
        generator = random_source.generator("cpu")
        randomness = seeded(int(torch.randint(2**31, (), generator=generator)), device)
    bar = tqdm(desc=description, unit="batch", disable=not verbose)
    stopped = "max_epochs"
    with limited_threads(n_threads, device), bar, randomness:
        for epoch in range(1, max_epochs + 1):
            order = batches(random_source.generator("cpu"))
            if not len(order):
                raise ValueError(f"{description}: there are no rows to learn from.")
            bar.total = len(order) * max_epochs
            record = run.epoch([rows.to(device) for rows in order], bar)
            if not record["loss"] < float("inf"):
                raise ValueError(
                    f"{description} diverged: the loss of epoch {epoch} is "
                    f"{record['loss']}. {advice or _ADVICE}"
                )
            if run.keep(record, watch, patience):
                stopped = "patience"
                break
    module.eval()
    return Training(run.history, run.restore(), stopped)


class _Run:
    """The state of one training."""

    def __init__(self, module, optimizer, loss, clip_norm, clip_value):
        self.module = module
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.history: list[dict[str, float]] = []
        self.lowest = float("inf")
        self.lowest_epoch = 0
        self.best: list[Tensor] | None = None

    def epoch(self, order, bar) -> dict[str, float]:
        self.module.train()
        sums: dict[str, Tensor] = {}
        count = 0
        for rows in order:
            self.optimizer.zero_grad(set_to_none=True)
            parts = self.loss(rows)
            named = dict(parts) if isinstance(parts, Mapping) else {}
            total = sum(named.values()) if named else parts
            total.backward()
            self._clip()
            self.optimizer.step()
            for name, part in {"loss": total, **named}.items():
                sums[name] = sums.get(name, 0.0) + part.detach() * len(rows)
            count += len(rows)
            bar.update()
        record = {name: float(value) / count for name, value in sums.items()}
        bar.set_postfix(epoch=len(self.history) + 1, loss=f"{record['loss']:.4g}")
        self.history.append(record)
        return record

    def _clip(self):
        if self.clip_norm is None and self.clip_value is None:
            return
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(trained, self.clip_value)

    def keep(self, record, watch, patience) -> bool:
        """Note how good the epoch was; tell whether patience has run out."""
        score = record["loss"]
        if watch is not None:
            self.module.eval()
            with torch.no_grad():
                score = record["watched"] = float(watch())
        epoch = len(self.history)
        if score < self.lowest:
            self.lowest, self.lowest_epoch = score, epoch
            if watch is not None:
                self.best = [value.detach().clone() for value in self._changing()]
        return patience is not None and epoch - self.lowest_epoch >= patience

    def _changing(self) -> list[Tensor]:
        """Return all that training changes; frozen weights may be many."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [*trained, *self.module.buffers()]

    def restore(self) -> int | None:
        if self.best is None:
            return None
        with torch.no_grad():
            for value, kept in zip(self._changing(), self.best, strict=True):
                value.copy_(kept)
        return self.lowest_epoch


def shuffled_batches(
    n_rows: int, batch_size: int
) -> Callable[[torch.Generator], list[Tensor]]:
    """Make batches for :func:`train` that go through all rows in random order.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    batch_size : int
        Rows in a batch at most. Batches of an epoch differ by one row at most: a
        small last one would have few negatives for a contrastive loss.

    Returns
    -------
    batches : callable
        ``batches(generator)`` returns a list of Tensor of int64.

    Examples
    --------
    >>> import torch
    >>> from skmer.modules import shuffled_batches
    >>> batches = shuffled_batches(10, 4)
    >>> [len(rows) for rows in batches(torch.Generator().manual_seed(0))]
    [4, 3, 3]
    """
    n_batches = -(-n_rows // batch_size)

    def batches(generator: torch.Generator) -> list[Tensor]:
        if n_rows == 0:
            return []
        order = torch.randperm(n_rows, generator=generator)
        return list(order.tensor_split(n_batches))

    return batches


def limited_threads(n_threads: int | None, device: torch.device):
    """Limit the threads that torch uses on the CPU, for the calling thread alone.

    Parameters
    ----------
    n_threads : int or None
        Threads; None leaves torch's own setting.
    device : torch.device
        Where work is done; elsewhere than on the CPU nothing is limited.

    Returns
    -------
    context : context manager
        Under which the limit holds.
    """
    if n_threads is None or device.type != "cpu":
        return contextlib.nullcontext()
    # In a new thread torch sets its own number of threads when it first looks at it,
    # which must not be after the limit.
    torch.get_num_threads()
    # OpenMP's limit is the calling thread's own, unlike torch.set_num_threads.
    return _openmp().limit(limits=n_threads)


@functools.cache
def _openmp() -> ThreadpoolController:
    """Find the OpenMP libraries, torch's among them: once, as it takes a while."""
    return ThreadpoolController().select(user_api="openmp")
