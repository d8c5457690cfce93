"""What a classifier around a fitted estimator passes on to it."""

from sklearn.utils.validation import check_is_fitted

from skmer.utils._available import available_if
from skmer.utils._scoring import LabelledScore


def _estimator_has(name):
    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class Delegate(LabelledScore):
    """Predictions of ``estimator_``, as far as the estimator has them."""

    @available_if(_estimator_has("predict"))
    def predict(self, X):
        """Return the most probable label of each clip.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_clips,)
        """
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n_clips, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.

        Returns
        -------
        log_proba : ndarray of shape (n_clips, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """Return the estimator's score of each class.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.

        Returns
        -------
        scores : ndarray of shape (n_clips,) or (n_clips, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @available_if(_estimator_has("transform"))
    def transform(self, X):
        """Return the estimator's codes of each clip.

        Parameters
        ----------
        X : indexable of length n_clips
            As for :meth:`fit`.

        Returns
        -------
        codes : ndarray or DataFrame of shape (n_clips, n_codes)
        """
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @available_if(_estimator_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; None takes those of ``fit``.

        Returns
        -------
        names : ndarray of shape (n_codes,), dtype object
        """
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    @available_if(_estimator_has("set_output"))
    def set_output(self, *, transform=None):
        """Set what :meth:`transform` returns.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            Container; None leaves it as it is.

        Returns
        -------
        self : object
        """
        self.estimator.set_output(transform=transform)
        if hasattr(self, "estimator_"):
            self.estimator_.set_output(transform=transform)
        return self
