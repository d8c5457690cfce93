"""Several fits of one classifier, computed as one."""

import numpy as np
import torch
from torch import nn

from skmer.fusion._data import StreamData
from skmer.fusion._precision import resolve_dtype
from skmer.fusion._skorch import (
    StreamNet,
    _logits,
    _some_of,
    interrupted,
    stream_heads_of,
)
from skmer.modules import StackedModules

# Those that treat each number of a tensor apart, so that a step on stacked
# parameters is one on each member's.
_ELEMENTWISE = {
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.SGD,
}
# What a stack does itself: a class that does it in another way is not stacked.
_OWN = (
    "_epoch_order",
    "_head_losses",
    "_infer_with",
    "_run",
    "_run_epochs",
    "_whole_loss",
    "get_iterator",
    "get_loss",
    "infer",
    "on_batch_begin",
    "on_batch_end",
    "on_grad_computed",
    "run_single_epoch",
    "train_step",
    "train_step_single",
)


def fit_together(nets, tasks):
    """Fit nets that differ in ``random_state`` alone.

    Nets that can be stacked and take as many steps an epoch are trained side by side,
    the others one after another; what comes out is the same up to rounding.

    Parameters
    ----------
    nets : list of FusionClassifier
        Unfitted nets.
    tasks : list of tuple
        X, y and sample weights of each. What is the same object is read once.
    """
    if len(nets) < 2 or not _stackable(nets[0]):
        for net, task in zip(nets, tasks, strict=True):
            net.fit(*task)
        return
    loaded = {}
    groups = {}
    for net, task in zip(nets, tasks, strict=True):
        net._validate_params()
        key = tuple(map(id, task))
        if key not in loaded:
            before = set(vars(net))
            data = net._training_data(*task, classes=None, resume=False)
            found = {k: v for k, v in vars(net).items() if k not in before}
            loaded[key] = found, data
        found, (data, *rest) = loaded[key]
        vars(net).update(found)
        # A copy, for beginning scales its weights.
        begun = net._begin(data.take(slice(None)), *rest, False)
        with net._threads():
            net._make_ready(begun, *task[:2], False)
        sizes = tuple(map(len, net.streams_.values()))
        steps = -(-len(begun.train) // net.batch_size)
        group = groups.setdefault((len(net.classes_), sizes, steps), [])
        group.append((net, begun, task))
    for group in groups.values():
        _train(*map(list, zip(*group, strict=True)))


def _stackable(net):
    cls = type(net)
    return (
        vars(net.module).get("stackable", False)
        and net._own_randomness()
        and not net._takes_sequences
        and net.callbacks in (None, "disable")
        and net.criterion is nn.CrossEntropyLoss
        and net.optimizer in _ELEMENTWISE
        and resolve_dtype(net.dtype, net._resolve_device()) != torch.float16
        and not (net.warm_start and net.initialized_)
        and all(getattr(cls, name) is getattr(StreamNet, name) for name in _OWN)
        and not any(name.startswith("optimizer__param_groups") for name in vars(net))
    )


def _train(nets, begun, tasks):
    try:
        with nets[0]._threads():
            if len(nets) == 1:
                net, task = nets[0], begun[0]
                net.best_epoch_, stop = net._run_epochs(task.train, task.valid)
            else:
                stop = _run_side_by_side(nets, begun)
    finally:
        for net in nets:
            net._mixing = None
    for net, task, (X, y, _) in zip(nets, begun, tasks, strict=True):
        net.notify("on_train_end", X=X, y=y)
        net._finish(task)
    if stop is not None:
        raise interrupted(stop, nets[0])


def _run_side_by_side(nets, begun):
    """Train until every net has done its epochs or lost patience.

    Returns
    -------
    stop : KeyboardInterrupt or None
        As of a single net.
    """
    facts = [{"dataset_train": b.train, "dataset_valid": b.valid} for b in begun]
    best = [net._no_best() for net in nets]
    running = list(range(len(nets)))
    stack = _Stack(nets, [task.train for task in begun])
    stop = None
    try:
        for _ in range(nets[0].max_epochs):
            for index in running:
                nets[index].notify("on_epoch_begin", **facts[index])
            losses, n_batches = stack.epoch()
            done = set()
            for index, loss in zip(running, losses, strict=True):
                nets[index]._record_loss("train", n_batches, loss)
                if nets[index]._end_epoch(facts[index], best[index], False):
                    done.add(index)
            if done:
                stack.keep([i not in done for i in running])
                running = [i for i in running if i not in done]
            if not running:
                break
    except KeyboardInterrupt as interrupt:
        stop = interrupt
    finally:
        stack.release()
    for net, found in zip(nets, best, strict=True):
        net.best_epoch_ = net._restore(found)
    return stop


class _Stack:
    """The nets that still learn, their parameters stacked, and one optimiser.

    Parameters
    ----------
    nets : list of FusionClassifier
        Initialised nets.
    datasets : list of StreamDataset
        What each learns from.
    """

    def __init__(self, nets, datasets):
        self.nets = nets
        self.datasets = datasets
        self._build()

    def _build(self):
        first = self.nets[0]
        self.modules = StackedModules([net.module_ for net in self.nets])
        self.modules.train()
        self.heads = stream_heads_of(first.module_) is not None
        self.entries = list(self.modules.entries())
        args, params = first.get_params_for_optimizer(
            "optimizer", list(self.modules.named_parameters())
        )
        self.optimizer = first.optimizer(*args, **params)
        self.sizes = [len(dataset) for dataset in self.datasets]
        self.any_mask = any(d.X.mask is not None for d in self.datasets)
        self.any_weight = any(d.X.weight is not None for d in self.datasets)
        self.mixes = [net._mixing for net in self.nets]
        # Runs of nets that learn from the same rows, which are gathered at once.
        self.shared = []
        for index, dataset in enumerate(self.datasets):
            if self.shared and _same(self.datasets[self.shared[-1][0]], dataset):
                self.shared[-1].append(index)
            else:
                self.shared.append([index])

    def keep(self, kept):
        """Go on with some of the nets; the others get their parameters back."""
        state, entries = self.optimizer.state, self.entries
        rows = [index for index, stays in enumerate(kept) if stays]
        self.release([index for index, stays in enumerate(kept) if not stays])
        self.nets = [self.nets[index] for index in rows]
        self.datasets = [self.datasets[index] for index in rows]
        if not rows:
            self.entries = []
            return
        self._build()
        for old, new in zip(entries, self.entries, strict=True):
            self.optimizer.state[new.stacked] = {
                name: value[rows] if _per_member(value, old) else value
                for name, value in state[old.stacked].items()
            }

    def release(self, rows=None):
        """Give nets parameters of their own and the state of the optimiser."""
        rows = range(len(self.nets)) if rows is None else rows
        for entry in self.entries:
            state = self.optimizer.state[entry.stacked]
            for index in rows:
                parameter = entry.members[index]
                parameter.data = _own(parameter.data)
                parameter.grad = None
                self.nets[index].optimizer_.state[parameter] = {
                    name: _own(entry.view(value, index))
                    if _per_member(value, entry)
                    else value.clone()
                    if isinstance(value, torch.Tensor)
                    else value
                    for name, value in state.items()
                }

    def epoch(self):
        """Go once over all batches; return each net's mean loss and their number."""
        first = self.nets[0]
        size = first.batch_size
        orders = [
            net._epoch_order(dataset)
            for net, dataset in zip(self.nets, self.datasets, strict=True)
        ]
        # Any row will do behind the last: its weight is zero.
        orders = nn.utils.rnn.pad_sequence(orders, batch_first=True)
        total = torch.zeros(len(self.nets), device=orders.device)
        n_batches = -(-orders.shape[1] // size)
        for start in range(0, orders.shape[1], size):
            rows = orders[:, start : start + size]
            counts = [min(size, n - start) for n in self.sizes]
            losses = self._step(rows, counts).detach()
            if min(counts) == max(counts):
                total += losses * counts[0]
            else:
                total += losses * losses.new_tensor(counts)
        total = np.array(total.tolist()) / self.sizes
        return total.tolist(), n_batches

    def _step(self, rows, counts):
        first = self.nets[0]
        self.modules.set_counts(counts)
        batch, y = self._gather(rows, counts)
        if first.modality_dropout > 0.0:
            batch = self._drop_streams(batch)
        for entry in self.entries:
            entry.stacked.grad = None
        output = first._run(self.modules, batch)
        losses = first.criterion_(_logits(output), y)
        if batch.weight is not None:
            losses = losses * batch.weight
        if self.heads:
            alone = first._run(self.modules.body.stream_heads, batch)
            losses = losses + first._head_losses(alone, y, batch)
        losses = losses.view(len(self.nets), -1)
        if min(counts) == max(counts):
            means = losses.mean(dim=1)
        else:
            n = losses.new_tensor(counts).unsqueeze(1)
            real = torch.arange(losses.shape[1], device=losses.device) < n
            means = (losses * real / n).sum(dim=1)
        means.sum().backward()
        self._clip(first)
        self.optimizer.step()
        return means

    def _gather(self, rows, counts):
        """Return the nets' batches as one, the rows of each below the other's."""
        parts = []
        for members in self.shared:
            own = rows[members[0] : members[-1] + 1].reshape(-1)
            parts.append(self.datasets[members[0]][own])
        batches = [batch for batch, _ in parts]
        y = torch.cat([y for _, y in parts])
        if self.mixes[0] is not None:
            values = torch.cat([batch.values for batch in batches])
            self._mix(values, batches, y, rows.shape[1], counts)
        elif len(batches) == 1:
            return batches[0], y
        else:
            values = torch.cat([batch.values for batch in batches])
        mask = weight = None
        if self.any_mask:
            mask = torch.cat([batch.present() for batch in batches])
        if self.any_weight:
            weight = torch.cat(
                [
                    values.new_ones(len(batch))
                    if batch.weight is None
                    else batch.weight
                    for batch in batches
                ]
            )
        return StreamData(values, batches[0].sizes, mask, weight), y

    def _mix(self, values, batches, y, width, counts):
        """Mix groups net by net: each has statistics and draws of its own."""
        pieces = [
            batch.take(slice(start, start + width))
            for batch in batches
            for start in range(0, len(batch), width)
        ]
        for index, (mixing, piece, count) in enumerate(
            zip(self.mixes, pieces, counts, strict=True)
        ):
            own = slice(index * width, index * width + count)
            moved = mixing(piece.take(slice(count)), y[own])
            values[own] = moved.values

    def _drop_streams(self, batch):
        present = batch.present()
        generators = [net.random_source_.generator(present.device) for net in self.nets]
        p = 1 - self.nets[0].modality_dropout
        kept = self.modules.bernoulli(present.shape, p, generators)
        return batch.masked(_some_of(present, kept))

    def _clip(self, first):
        """Limit gradients, the norm of each net's own."""
        gradients = [e.stacked.grad for e in self.entries if e.stacked.grad is not None]
        limit = first.gradient_clip_norm
        if limit is not None:
            squares = [g.flatten(1).square().sum(dim=1) for g in gradients]
            norms = torch.stack(squares).sum(dim=0).sqrt()
            factors = (limit / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
        if first.gradient_clip_value is not None:
            nn.utils.clip_grad_value_(
                self.modules.parameters(), first.gradient_clip_value
            )


def _same(one, other):
    return one.X.values.data_ptr() == other.X.values.data_ptr() and len(one) == len(
        other
    )


def _per_member(value, entry):
    return isinstance(value, torch.Tensor) and value.shape == entry.stacked.shape


def _own(tensor):
    return tensor.detach().clone(memory_format=torch.contiguous_format)
