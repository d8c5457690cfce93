"""Mean and spread of columns, as modules that standardise keep them."""

import torch
from torch import Tensor

# Columns that are looked at in one go: all of them in float64 would be twice the data.
_COLUMNS = 64


def mean_and_spread(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each column.

    Parameters
    ----------
    values : Tensor of shape (n_clips, n_features)
        Finite numbers.

    Returns
    -------
    mean : Tensor of shape (n_features,), dtype float64
    spread : Tensor of shape (n_features,), dtype float64
        1.0 for a column that is constant: it is only centred.
    """
    means, spreads = [], []
    for block in values.split(_COLUMNS, dim=1):
        block = block.double()
        spread = block.std(dim=0, correction=0)
        spread[spread <= 1e-12 * block.abs().amax(dim=0)] = 1.0
        means.append(block.mean(dim=0))
        spreads.append(spread)
    return torch.cat(means), torch.cat(spreads)
