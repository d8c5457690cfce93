"""Which rows of X a fusion classifier learns from, with what labels and weights."""

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_consistent_length
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from skmer._streams import NAMELESS, resolve_streams
from skmer.fusion._data import StreamData, StreamDataset
from skmer.fusion._precision import resolve_dtype
from skmer.fusion._sequences import CellTable
from skmer.fusion._split import inner_split
from skmer.utils import split_labels
from skmer.utils._clip_ids import unit_codes
from skmer.utils._fit_inputs import require_y, warn_of_column


class Source(NamedTuple):
    """Where training clips come from: rows of X by number."""

    table: object  # the validated X
    used: np.ndarray  # rows of weight above zero, labelled or not
    labelled: np.ndarray  # rows that the net is trained on or watched with
    clips: pd.Index | None  # ids of all rows, where X has any


class TrainingRows:
    """The part of a fusion classifier that reads X, y and weights before training."""

    def _training_data(self, X, y, sample_weight, classes, resume):
        """Return the clips to learn from, their classes, ids and origin."""
        clips = X.index if isinstance(X, pd.DataFrame) else None
        require_y(type(self).__name__, y)
        warn_of_column(y, stacklevel=4)
        table = self._validated(X, reset=not resume)
        labelled, known, codes = split_labels(y)
        check_consistent_length(table, codes)
        weight = np.ones(len(table))
        if sample_weight is not None:
            weight = _check_sample_weight(
                sample_weight, table, dtype=np.float64, ensure_non_negative=True
            )
        used = weight > 0
        rows = labelled & used
        if not rows.any():
            raise ValueError(
                f"{type(self).__name__} needs rows with a label and a weight above "
                f"zero; {int(labelled.sum())} of {len(table)} rows have a label."
            )
        codes = self._set_classes(known, codes, classes, resume)
        if not resume:
            self._set_streams(table)
        data = self._stream_data(table if rows.all() else table[rows], not resume)
        weight, codes = weight[rows], codes[rows]
        clips = None if clips is None else clips[rows]
        ids = X.index if isinstance(X, pd.DataFrame) else None
        source = Source(table, np.flatnonzero(used), np.flatnonzero(rows), ids)
        self._check_streams(data, table)
        weight *= self._class_weights(codes)
        if weight.min() < weight.max():
            data.weight = torch.from_numpy(weight.astype(np.float32)).to(self.device_)
        some = data.present().any(dim=1)
        if not bool(some.all()):
            data = data.take(some.nonzero().squeeze(1))
            some = some.cpu().numpy()
            codes = codes[some]
            clips = None if clips is None else clips[some]
            source = source._replace(labelled=source.labelled[some])
        return data, codes, clips, source

    def _set_streams(self, table):
        names = getattr(self, "feature_names_in_", None)
        groups = resolve_streams(self.streams, names, table.shape[1])
        if self.streams is None and NAMELESS in groups and len(groups) > 1:
            nameless = [names[i] for i in groups[NAMELESS]]
            warnings.warn(
                f"{len(nameless)} columns have no '__' in their names and make a "
                f"stream of their own, {NAMELESS!r}: {', '.join(nameless[:5])}. Name "
                "them stream__feature, leave them out, or say by streams= which "
                "streams to fuse.",
                UserWarning,
                stacklevel=5,
            )
        # One order whatever the order of the columns: the same net comes out.
        self.streams_ = dict(sorted(groups.items()))
        self.device_ = self._resolve_device()
        self.dtype_ = resolve_dtype(self.dtype, self.device_)
        self._scaler_state = None

    def _set_classes(self, known, codes, classes, resume):
        """Set ``classes_`` and return the positions of the labels in it."""
        if not resume and classes is None:
            self.classes_inferred_ = known
            return codes
        if not resume:
            self.classes_inferred_ = np.unique(classes)
        foreign = ~np.isin(known, self.classes_)
        if foreign.any():
            raise ValueError(
                f"y holds the label {known[foreign][0]!r}, which is not among the "
                f"classes {self.classes_.tolist()} that this {type(self).__name__} "
                "was made for. Name all classes at the first partial_fit, or fit anew "
                "with warm_start=False."
            )
        where = np.searchsorted(self.classes_, known)
        return np.where(codes < 0, -1, where[codes])

    def _check_streams(self, data, table):
        self._warn_of_holes(table)
        absent = ~data.present().any(dim=0).cpu().numpy()
        if absent.any():
            names = [n for n, gone in zip(self.streams_, absent, strict=True) if gone]
            rest = [n for n in self.streams_ if n not in names]
            width = len(self.streams_[names[0]])
            lack = f"every one has a NaN in its {width} columns"
            if isinstance(table, CellTable):
                lack = "their cells hold None, no steps, or NaN in every step"
            raise ValueError(
                f"Stream {names[0]!r} has no value in any of the {len(data)} training "
                f"rows: {lack}. Leave it out (streams={rest}), fill it with "
                "skmer.preprocessing.ModalityImputer, or check that the step that "
                "makes it can read the clips."
            )

    def _warn_of_holes(self, table):
        """Warn where X without stream names loses clips that lack a part."""
        if self.streams is not None or list(self.streams_) != [NAMELESS]:
            return
        if isinstance(table, CellTable):
            return
        missing = np.isnan(table)
        holes = int((missing.any(axis=1) & ~missing.all(axis=1)).sum())
        if holes:
            warnings.warn(
                f"{holes} of {len(table)} rows have a NaN and count as without any "
                "features, since the column names of X tell no streams apart. Call "
                "set_output(transform='pandas') on the pipeline, or pass "
                "streams={name: columns}.",
                UserWarning,
                stacklevel=6,
            )

    def _class_weights(self, codes):
        """Return the weight of each row's class."""
        if self.class_weight is None:
            return 1.0
        present = np.unique(codes)
        labels = self.classes_[codes]
        weights = np.ones(len(self.classes_))
        weights[present] = compute_class_weight(
            self.class_weight, classes=self.classes_[present], y=labels
        )
        return weights[codes]

    def _divide(self, data, codes, clips, seed):
        """Return the datasets to learn from and to watch, and the rows to watch.

        Without early stopping there is nothing to watch.
        """
        labels = torch.from_numpy(codes).to(self.device_)
        if self.groups is not None and self.group_mixing > 0.0:
            self._set_groups(data, clips)
        if self.train_split is None:
            return self._weighted(data, labels), None, np.arange(0)
        parts = inner_split(self.train_split, codes, clips, self.groups, seed)
        learn, watch = (torch.from_numpy(part).to(self.device_) for part in parts)
        train = self._weighted(data.take(learn), labels[learn])
        watched = data.take(watch)
        watched.weight = None
        return train, StreamDataset(watched, labels[watch]), parts[1]

    @staticmethod
    def _weighted(data, labels):
        if data.weight is not None:
            data.weight = data.weight / data.weight.mean()
        return StreamDataset(data, labels)

    def _set_groups(self, data, clips):
        if not isinstance(data, StreamData):
            raise ValueError(
                f"{type(self).__name__} mixes groups of whole clips, and X holds "
                "sequences. Pool them, or pass group_mixing=0.0."
            )
        codes = unit_codes(clips, self.groups, len(data))
        data.group = torch.from_numpy(codes).to(self.device_)

    def _set_prior(self, train, resume):
        """Set the classes' shares in all that was trained on so far."""
        n_classes, y = len(self.classes_), train.y.cpu()
        weight = None if train.X.weight is None else train.X.weight.double().cpu()
        counts = torch.bincount(y, weight, minlength=n_classes).double().numpy()
        if self.sampler == "balanced":
            # Each class comes equally often, its clips with their weights.
            rows = torch.bincount(y, minlength=n_classes).double().numpy()
            counts /= np.maximum(rows, 1.0)
            counts *= len(y) / np.count_nonzero(rows)
        before = getattr(self, "_class_counts", None) if resume else None
        self._class_counts = counts if before is None else before + counts
        self.class_prior_ = self._class_counts / self._class_counts.sum()

    def _rows_without_labels(self, source, watched):
        """Return rows to learn from without their labels, one of each clip.

        None is of a clip that is watched, or of the group of one.
        """
        rows, clips = source.used, source.clips
        watched = source.labelled[watched]
        if clips is None:
            return np.setdiff1d(rows, watched)
        hidden = clips.isin(clips[watched])
        if self.groups is not None and len(watched):
            group = self.groups[~self.groups.index.duplicated()].reindex(clips)
            hidden |= group.isin(group.iloc[watched].dropna()).to_numpy()
        return self._one_of_each(clips, rows[~hidden[rows]])

    @staticmethod
    def _one_of_each(clips, rows):
        """Return the rows without copies: a clip would be unlike itself."""
        return rows if clips is None else rows[~clips[rows].duplicated()]
