"""What tests of leaks share: changing held-out rows, comparing what was fitted."""

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator


def changed_rows(X, y, rows, seed=0):
    """Return copies of X and y that differ in the given rows, and there a lot.

    Columns of numbers get numbers far off, columns of anything else the cells of
    other rows of ``rows``; labels move on to the next class that y knows.
    """
    rng = np.random.default_rng(seed)
    rows = np.asarray(rows)
    X = X.copy()
    if isinstance(X, pd.DataFrame):
        for name in X.columns:
            column = X[name].to_numpy(copy=True)
            column[rows] = _changed(column[rows], rng)
            X[name] = pd.Series(column, index=X.index, dtype=X[name].dtype)
    else:
        X[rows] = _changed(X[rows], rng)
    changed = y.copy()
    values = np.asarray(changed, dtype=object)
    known = sorted({v for v in values if v is not None and v == v and v != -1})
    after = dict(zip(known, known[1:] + known[:1], strict=True))
    new = np.array(values)
    new[rows] = [after.get(v, v) for v in values[rows]]
    if isinstance(changed, pd.Series):
        return X, pd.Series(new, index=changed.index).astype(changed.dtype)
    return X, new.astype(changed.dtype)


def _changed(values, rng):
    if values.dtype.kind == "f":
        return (rng.normal(50, 20, size=values.shape)).astype(values.dtype)
    return np.roll(values, 1, axis=0)


def differences(first, second, path="", seen=None):
    """Return where the fitted state of two objects differs, as a list of names.

    Goes into estimators, pipelines, lists, dicts and torch modules; compares numbers
    bit for bit.
    """
    seen = set() if seen is None else seen
    if (id(first), id(second)) in seen:
        return []
    seen.add((id(first), id(second)))
    if type(first) is not type(second):
        return [f"{path}: {type(first).__name__} and {type(second).__name__}"]
    if isinstance(first, torch.nn.Module):
        first, second = first.state_dict(), second.state_dict()
    if isinstance(first, torch.Tensor):
        first, second = first.detach().numpy(), second.detach().numpy()
    if isinstance(first, (pd.DataFrame, pd.Series, pd.Index)):
        return [] if first.equals(second) else [path]
    if isinstance(first, np.ndarray):
        if first.dtype != object or first.shape != second.shape:
            same = first.shape == second.shape and np.array_equal(
                first, second, equal_nan=first.dtype.kind == "f"
            )
            return [] if same else [path]
        first, second = first.tolist(), second.tolist()
    if isinstance(first, dict):
        if list(first) != list(second):
            return [f"{path}: keys"]
        pairs = [(f"{path}[{k!r}]", first[k], second[k]) for k in first]
    elif isinstance(first, (list, tuple)):
        if len(first) != len(second):
            return [f"{path}: length"]
        pairs = [
            (f"{path}[{i}]", a, b)
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
    elif isinstance(first, BaseEstimator):
        names = sorted(n for n in vars(first) if _is_state(n))
        if names != sorted(n for n in vars(second) if _is_state(n)):
            return [f"{path}: attributes"]
        pairs = [(f"{path}.{n}", getattr(first, n), getattr(second, n)) for n in names]
        for name in ("steps", "transformers"):
            if hasattr(first, name):
                pairs.append(
                    (f"{path}.{name}", getattr(first, name), getattr(second, name))
                )
    elif isinstance(first, (float, np.floating)):
        return (
            [] if first == second or (first != first and second != second) else [path]
        )
    elif isinstance(first, (int, str, bool, type(None), np.generic, bytes)):
        return [] if first == second else [path]
    else:
        return []
    found = []
    for name, a, b in pairs:
        found += differences(a, b, name, seen)
    return found


def _is_state(name):
    # Times differ from fit to fit; so does what skorch notes of them
    timed = name.startswith("history") or "time" in name
    return name.endswith("_") and not name.endswith("__") and not timed
