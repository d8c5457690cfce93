"""The plain classifiers that every network is compared with."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import StreamVotingClassifier
from skmer.preprocessing import ModalityImputer

CONCAT = "concat + LR"
PRODUCT = "product of LRs"


def references():
    """Make the two references, unfitted.

    Returns
    -------
    models : dict of str to Pipeline
        ``"concat + LR"``: one logistic regression on all columns side by side.
        ``"product of LRs"``: the product of what one a modality says. Both take
        features with NaN; missing values become training means.
    """
    return {
        CONCAT: _scaled(LogisticRegression(max_iter=1000)),
        PRODUCT: _scaled(
            StreamVotingClassifier(LogisticRegression(C=0.1, max_iter=1000))
        ),
    }


def _scaled(classifier):
    steps = make_pipeline(ModalityImputer(), StandardScaler(), classifier)
    return steps.set_output(transform="pandas")
