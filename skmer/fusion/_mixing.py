"""Training clips as other groups would have made them."""

import torch

from skmer.modules import bernoulli

# Clips that the statistics of all groups count for beside a group's own.
_SHRINKAGE = 10


class GroupMixing:
    """Move training clips from their group's statistics to another group's.

    What is left of a stream when the mean of its class is taken away has a mean and
    a spread in each group (each speaker, say). A clip is moved by exchanging those of
    its group for those of a group drawn at random, for each stream apart. Groups with
    few clips are drawn towards all groups together.

    Parameters
    ----------
    data : StreamData
        The training clips, with ``group``.
    y : Tensor of shape (n_clips,), dtype int64
        Their classes.
    n_classes : int
        Number of classes.
    p : float
        Probability that a clip's stream is moved.
    random_source : RandomSource
        Where random numbers come from.
    """

    def __init__(self, data, y, n_classes, p, random_source):
        self.p = p
        self.random_source = random_source
        self.n_groups = int(data.group.max()) + 1
        present = data.present()
        parts = [
            _statistics(x[rows], y[rows], data.group[rows], n_classes, self.n_groups)
            for x, rows in zip(data.streams(), present.unbind(dim=1), strict=True)
        ]
        # (class, column), (group, column) and (group, column), streams side by side
        self.centres, self.offsets, self.scales = (
            torch.cat(part, dim=1) for part in zip(*parts, strict=True)
        )

    def __call__(self, batch, y):
        """Return a batch with clips moved at random.

        Parameters
        ----------
        batch : StreamData
            Training clips, with ``group``.
        y : Tensor of shape (n_clips,), dtype int64
            Their classes.

        Returns
        -------
        moved : StreamData
        """
        device = batch.values.device
        generator = self.random_source.generator(device)
        shape = (len(batch), len(batch.sizes))
        drawn = torch.randint(self.n_groups, shape, generator=generator, device=device)
        own = batch.group.unsqueeze(1)
        chosen = bernoulli(shape, self.p, generator) > 0
        drawn = torch.where(chosen & batch.present(), drawn, own)
        moved = []
        start = 0
        for index, values in enumerate(batch.streams()):
            columns = slice(start, start + values.shape[1])
            moved.append(self._move(values, y, batch.group, drawn[:, index], columns))
            start = columns.stop
        return batch.with_streams(moved)

    def _move(self, values, y, own, other, columns):
        offsets, scales = self.offsets[:, columns], self.scales[:, columns]
        centre = self.centres[y, columns]
        rest = (values - centre - offsets[own]) * (scales[other] / scales[own])
        moved = centre + offsets[other] + rest
        # Exactly as it was where it stays.
        return torch.where((own == other).unsqueeze(1), values, moved)


def _statistics(x, y, group, n_classes, n_groups):
    """Return the means of the classes and the groups' offsets and spreads."""
    centres = _sums(x, y, n_classes) / _counts(y, n_classes).clamp_min(1)
    rest = x - centres[y]
    count = _counts(group, n_groups)
    sums = _sums(rest, group, n_groups)
    within = rest - (sums / count.clamp_min(1))[group]
    spread = rest.var(dim=0, correction=0)
    variance = _sums(within.square(), group, n_groups) + _SHRINKAGE * spread
    variance /= count + _SHRINKAGE
    # A column that is constant within classes has nothing to be scaled.
    variance[:, spread == 0] = 1.0
    return centres, sums / (count + _SHRINKAGE), variance.sqrt()


def _counts(codes, n):
    return torch.bincount(codes, minlength=n).unsqueeze(1).float()


def _sums(values, codes, n):
    return values.new_zeros(n, values.shape[1]).index_add_(0, codes, values)
