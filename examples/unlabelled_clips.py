"""What clips without labels are worth, to MR-CCL and to plain classifiers.

Half of the labels of made clips are hidden, as if nobody had watched those yet. Models
are trained on a few labelled clips with and without the unlabelled ones, and tested on
other labelled clips (``UnlabeledInTrain``), beside a model that is told all labels.

Run it from the project's folder: ``python examples/unlabelled_clips.py``
"""

import argparse
from pathlib import Path

from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.preprocessing import StandardScaler

from skmer.datasets import make_clips
from skmer.ensemble import StreamVotingClassifier
from skmer.model_selection import UnlabeledInTrain
from skmer.preprocessing import ModalityImputer
from skmer.recipes import make_mertools_attention, make_mr_ccl
from skmer.semi_supervised import AgreementSelfTrainingClassifier


def scaled(model):
    """Scale before a model; names of columns go on, as they tell the streams."""
    return make_pipeline(StandardScaler(), model).set_output(transform="pandas")


def main(n_clips=300, output="unlabelled_output", n_jobs=2, n_labelled=36, n_draws=4):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make. Every second one has a label.
    output : path
        Folder for clips and features.
    n_jobs : int
        Worker processes.
    n_labelled : int
        Labelled clips to train on; the others with a label are to be predicted.
    n_draws : int
        How often to draw these.
    """
    output = Path(output)
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    encode = make_mertools_attention(cache=str(output / "features"), n_jobs=n_jobs)[:2]
    X = encode.fit_transform(clips.data)
    y = clips.target.astype(object)
    y[::2] = None  # None among strings, -1 among integers

    # Any splitter of the labelled clips; unlabelled ones are in every training part.
    few = StratifiedShuffleSplit(n_draws, train_size=n_labelled, random_state=0)
    splits = list(UnlabeledInTrain(few).split(X, y))
    train, test = splits[0]
    print(f"Trained on {n_labelled} clips with a label and {len(train) - n_labelled}")
    print(f"without, tested on {len(test)} others; weighted F1, {len(splits)} draws")

    product = StreamVotingClassifier(LogisticRegression(C=0.01, max_iter=1000))
    concat = make_pipeline(ModalityImputer(), LogisticRegression(C=0.01, max_iter=1000))
    agreement = AgreementSelfTrainingClassifier(
        product, concat, threshold=None, n_per_class=0.7, random_state=0
    )
    network = {"encoders": None, "random_state": 0}  # X holds features
    models = {
        "product of LRs, labelled clips only": scaled(product),
        "  and pseudo-labels of two models": scaled(agreement),
        "MR-CCL, labelled clips only": make_mr_ccl(
            **network, pretrain=False, self_training=False
        ),
        "  and contrast on all clips": make_mr_ccl(**network, self_training=False),
        "  and pseudo-labels: the recipe": make_mr_ccl(**network),
    }
    common = {"cv": splits, "scoring": "f1_weighted", "n_jobs": n_jobs}
    alone = None
    for name, model in models.items():
        scores = cross_val_score(model, X, y, **common)
        if not name.startswith(" "):
            alone = scores
        gained = "" if scores is alone else f"   gained {(scores - alone).mean():+.3f}"
        print(f"  {name:<36} {scores.mean():.3f} +- {scores.std():.3f}{gained}")
    told = cross_val_score(scaled(product), X, clips.target, **common)
    print(f"  {'product of LRs, told all labels':<36} {told.mean():.3f}")

    # Only of made clips is it known how many pseudo-labels are right.
    pseudo = scaled(agreement).fit(X.iloc[train], y[train])[-1].pseudo_labels_
    pseudo = pseudo[pseudo["round"] > 0]
    right = (pseudo["label"].to_numpy() == clips.target[train][pseudo["row"]]).mean()
    print(f"{len(pseudo)} clips got a pseudo-label, {right:.0%} of these are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=300)
    parser.add_argument("--output", default="unlabelled_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-labelled", type=int, default=36)
    parser.add_argument("--n-draws", type=int, default=4)
    main(**vars(parser.parse_args()))
