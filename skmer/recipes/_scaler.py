"""The scaler of recipes that start from features."""

from sklearn.preprocessing import StandardScaler

from skmer.utils._features import refuse_clips


class FeatureScaler(StandardScaler):
    """Take z-scores as :class:`~sklearn.preprocessing.StandardScaler` does.

    It is the first step of recipes with ``encoders=None``, and tells who passes clips
    what to do, where scikit-learn's own says that words are no numbers.
    """

    def fit(self, X, y=None, sample_weight=None):
        """Compute mean and spread of each column.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_clips,), default=None
            Weight of each row.

        Returns
        -------
        self : FeatureScaler

        Raises
        ------
        ValueError
            If X holds clips.
        """
        refuse_clips(self, X)
        return super().fit(X, y, sample_weight)

    def transform(self, X, copy=None):
        """Scale features.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features.
        copy : bool or None, default=None
            Whether X is left as it is; None: as the parameter ``copy`` says.

        Returns
        -------
        X_scaled : ndarray of shape (n_clips, n_features)

        Raises
        ------
        ValueError
            If X holds clips.
        """
        refuse_clips(self, X)
        return super().transform(X, copy)
