"""What of a fitted model only fitting needs: it tells of people, and is left out."""

import pandas as pd

# Looked up by clip id, or by group, when the fitted estimator transforms.
_LOOKED_UP = {
    ("ChatAnnotator", "context"),
    ("ContextEnricher", "annotations"),
    ("GroupStandardScaler", "groups"),
    ("GroupStandardScaler", "groups_"),
    ("OmniAnnotator", "context"),
}
# Fitted attributes of training clips, besides tables.
_OF_TRAINING = {
    ("AgreementSelfTrainingClassifier", "labeled_iter_"),
    ("AgreementSelfTrainingClassifier", "transduction_"),
    ("FoldVotingClassifier", "folds_"),
    ("RefinedClassifier", "refiner_"),
    ("SelfTrainingClassifier", "labeled_iter_"),
    ("SelfTrainingClassifier", "transduction_"),
}
# Of samplers, which never act on clips that are predicted.
_OF_SAMPLERS = {"feature_names_in_", "n_features_in_"}


def is_fit_only(owner, key, item):
    """Tell whether an attribute is left out of stored models.

    Parameters
    ----------
    owner : object
        An estimator, or anything else with attributes.
    key : str
        The attribute.
    item : object
        Its value.

    Returns
    -------
    out : bool
        True for training clips' names, labels, groups and folds, for what was fitted
        of samplers, and for what calls or opens things while fitting (callbacks,
        ``memory``).
    """
    if item is None or isinstance(item, str) and key != "memory":
        return False
    kind = type(owner).__name__
    ours = type(owner).__module__.startswith("skmer.")
    if key in ("memory", "callbacks") and hasattr(owner, "get_params"):
        return True
    if (kind, key) in _OF_TRAINING:
        return True
    if hasattr(owner, "fit_resample") and not hasattr(owner, "predict"):
        fitted = key.endswith("_") or key.startswith("_")
        if fitted and not key.startswith("_sk") and key not in _OF_SAMPLERS:
            return True
    if ours or key in ("cv", "train_split"):
        return (kind, key) not in _LOOKED_UP and _has_table(item)
    return False


def _has_table(item):
    """Tell whether a value is, or holds, a table of pandas."""
    if isinstance(item, (pd.Series, pd.DataFrame)):
        return True
    if isinstance(item, dict):
        return any(_has_table(value) for value in item.values())
    if isinstance(item, (list, tuple)):
        return any(_has_table(value) for value in item)
    # Splitters with the fold of each clip
    if not hasattr(item, "get_n_splits"):
        return False
    return any(map(_has_table, getattr(item, "__dict__", {}).values()))
