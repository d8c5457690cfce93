"""Methods that are there only where they can work, and what is said elsewhere."""

from functools import update_wrapper

from sklearn.utils import metaestimators


def available_if(check):
    """Make a method available only if a check passes; otherwise say why it is not.

    scikit-learn's own says that there is no such attribute, and keeps the reason for
    the error before it, which notebooks show above pages of traceback.

    Parameters
    ----------
    check : callable
        Takes the object; returns something true, or raises an AttributeError whose
        message says why, and what to do.

    Returns
    -------
    decorator : callable
    """
    inner = metaestimators.available_if(check)
    return lambda method: _Explained(method, inner(method))


class _Explained:
    def __init__(self, method, inner):
        self._inner = inner
        update_wrapper(self, method)

    def __get__(self, instance, owner=None):
        try:
            return self._inner.__get__(instance, owner)
        except AttributeError as error:
            reason = error.__cause__
            if reason is None:
                raise
            raise AttributeError(f"{error}: {reason}") from None
