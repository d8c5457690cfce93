"""The score of classifiers that know unlabelled rows."""

import numpy as np

from skmer.utils import split_labels


class LabelledScore:
    """Accuracy on the rows that have a label; goes before scikit-learn's mixin."""

    def score(self, X, y, sample_weight=None):
        """Return the accuracy on the rows that have a label.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.
        y : array-like of shape (n_clips,)
            Labels; unlabelled rows are left out.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            Weight of each row.

        Returns
        -------
        accuracy : float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If no row has a label.
        """
        labelled, classes, codes = split_labels(y)
        if not labelled.any():
            raise ValueError(
                f"{type(self).__name__}.score needs rows with a label. None of the "
                f"{len(codes)} rows of y has one."
            )
        right = np.asarray(self.predict(X))[labelled] == classes[codes[labelled]]
        weights = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(np.average(right, weights=weights))
