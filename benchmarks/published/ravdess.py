"""All recipes on RAVDESS, beside the table that was published for its five folds.

Run from the root of the repository::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/published/ravdess.py \
        [folder] [--seeds 5] [--recipes NAME ...] [--work folder]

``folder`` (default: the environment variable SKMER_SHARED_DATA, else ../shared/data)
holds ``ravdess/flac16k/*.flac``, the speech of 1,440 clips, and
``ravdess/ravdess_av.npz``: means of OpenFace's action units (35), labels, actors, the
five published actor-disjoint folds, and what three models of Luna-Jimenez et al. (2022)
say of each clip in each fold. Features are the 973 functionals of
:class:`~skmer.encoders.AcousticEncoder`, for recipes that need sequences those of each
window of a second, and the action units; nothing is downloaded.

Each fold is predicted from the other four. A score is the mean over the five folds, as
published; "sd" is that of the seeds. Nothing was chosen by the scores below: recipes
are as they come out of the box, except that they are told who speaks in the training
clips where they can make use of it (all parameters ``groups``), and references are
those of :func:`skmer.evaluation.evaluate`, C = 1 for the columns side by side and 0.1
for the product. But these folds are not new to the project: settings that networks
share, and this C, were settled on them with other features of the sound (see
``benchmarks/ravdess_networks.py``), and AcousticEncoder on four of them.

The authors' models were trained on the very training rows of a fold, on which they are
nearly always right, so that nothing can be learnt there about how to weigh them. The
last part therefore multiplies probabilities, each with weight 1, and trains nothing:
fine-tuned wav2vec 2.0 (W), the biLSTM on action units (B), and what a model of this
benchmark says. All models are listed, none is picked.

"Of each actor" z-scores take the mean and deviation of all clips of an actor, those of
the test actors included (without labels): transductive, not comparable with the rest.

With ``--work``, what recipes say is kept there, and read back by a later run.

Writes benchmarks/published/results/ravdess.txt.

References
----------
C. Luna-Jimenez, R. Kleinlein, D. Griol, Z. Callejas, J. M. Montero and F.
Fernandez-Martinez (2022). A Proposal for Multimodal Emotion Recognition Using Aural
Transformers and Action Units on RAVDESS Dataset. Applied Sciences 12(1), 327.
"""

import argparse
import os
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.encoders import AcousticEncoder
from skmer.ensemble import StreamVotingClassifier
from skmer.preprocessing import GroupStandardScaler
from skmer.recipes import RECIPES

HERE = Path(__file__).resolve().parent
STREAMS = ("audio", "video")
# The order of the authors' perceptron; the other two have the alphabetical one.
ORDER = "neutral calm happy sad angry fearful disgust surprised".split()
PUBLISHED = {
    "AU means, SVC": 59.93,
    "AU means, MLP": 60.22,
    "AU, biLSTM": 62.13,
    "frozen wav2vec 2.0, MLP": 56.53,
    "fine-tuned wav2vec 2.0": 81.82,
    "three streams fused": 86.70,
}


class Pack:
    """Features, labels, folds, and what the authors' models say."""

    def __init__(self, folder, cache, n_jobs):
        with np.load(folder / "ravdess_av.npz") as data:
            self.y, self.fold = data["y"], data["fold"]
            names = data["name"].tolist()
            face = pd.DataFrame(data["visual_au"], columns=data["au_names"].tolist())
            actor = data["actor"]
            classes = np.unique(self.y).tolist()
            order = [ORDER.index(label) for label in classes]
            said = {
                "W": softmax(data["post_wav2vec"], axis=2),
                "B": softmax(data["post_bilstm_au"], axis=2),
                "M": data["post_mlp_au"][:, :, order],
            }
        # Pictures and sound have the modality 01, sound alone 03.
        clips = [folder / "flac16k" / f"03{name[2:]}.flac" for name in names]
        index = pd.Index(names)
        self.clips, self.options = clips, {"cache": cache, "n_jobs": n_jobs}
        self.face = face.set_axis(index).add_prefix("video__")
        self.X = self.with_sound("functionals")
        self.actor = pd.Series(actor, index=index)
        self.classes = np.array(classes)
        # Of each clip, what is said in the fold in which it is tested.
        rows = np.arange(len(self.y))
        self.said = {k: p[self.fold, rows].astype(np.float64) for k, p in said.items()}

    def with_sound(self, pooling):
        """Return features of sound and face."""
        encoder = AcousticEncoder(pooling=pooling, verbose=True, **self.options)
        sound = encoder.set_output(transform="pandas").fit_transform(self.clips)
        sound = sound.set_axis(self.face.index).add_prefix("audio__")
        return pd.concat([sound, self.face], axis=1)

    @cached_property
    def sequences(self):
        """Features, those of the sound window by window."""
        return self.with_sound("windows")

    def predict(self, make, kept=None, sequences=False):
        """Return the probabilities of all clips, each from a model of other folds.

        ``kept`` is how names of files begin in which each fold's are kept.
        """
        proba = np.empty((len(self.y), len(self.classes)))
        for fold in np.unique(self.fold):
            test = self.fold == fold
            place = kept and Path(f"{kept}-{fold}.npy")
            if place and place.is_file():
                proba[test] = np.load(place)
                continue
            X = self.sequences if sequences else self.X
            model = make().fit(X[~test], self.y[~test])
            assert (model.classes_ == self.classes).all()
            proba[test] = model.predict_proba(X[test])
            if place:
                np.save(place, proba[test])
        return proba

    def score(self, proba):
        """Return accuracy, UA and weighted F1, one row a fold, in percent."""
        guess = self.classes[proba.argmax(axis=1)]
        rows = []
        for fold in np.unique(self.fold):
            truth, said = self.y[self.fold == fold], guess[self.fold == fold]
            rows.append(
                [
                    accuracy_score(truth, said),
                    balanced_accuracy_score(truth, said),
                    f1_score(truth, said, average="weighted"),
                ]
            )
        return 100 * np.array(rows)

    def line(self, name, probas):
        """Return a line of the table: means over seeds, and each fold's accuracy."""
        scores = np.array([self.score(proba) for proba in probas])
        means = scores.mean(axis=(0, 1))
        sd = "" if len(scores) == 1 else f"{scores[..., 0].mean(1).std(ddof=1):.2f}"
        vote = "" if len(scores) == 1 else f"{self.vote(probas):.2f}"
        folds = " ".join(f"{s:5.1f}" for s in scores[..., 0].mean(axis=0))
        return (
            f"{name:44s}{len(scores):3d} {means[0]:7.2f} {sd:>5s} {vote:>6s} "
            f"{means[1]:6.1f} {means[2]:6.1f}   {folds}"
        )

    def vote(self, probas):
        """Return the accuracy of the mean of the seeds' probabilities."""
        return self.score(np.mean(probas, axis=0))[:, 0].mean()


def scaled(scaler, classifier):
    return make_pipeline(scaler, classifier).set_output(transform="pandas")


def regression(c):
    return LogisticRegression(C=c, max_iter=5000)


def references(scaler):
    """Return functions that make plain models, by name."""
    return {
        "concat + LR": lambda: scaled(scaler, regression(1.0)),
        "product of LRs": lambda: scaled(
            scaler, StreamVotingClassifier(regression(0.1))
        ),
    }


def recipe(name, seed, actor):
    """Make a recipe that knows who speaks in the training clips."""
    model = RECIPES[name].make(encoders=None, streams=STREAMS, random_state=seed)
    found = [k for k in model.get_params(deep=True) if k.split("__")[-1] == "groups"]
    return model.set_params(**dict.fromkeys(found, actor))


def run_recipes(options, pack):
    """Return what each recipe says from each seed; seeds in turn, so that any end."""
    said = {name: [] for name in options.recipes}
    for seed in range(options.seeds):
        for name in options.recipes:
            kept = options.work and options.work / f"{name}-{seed}"
            start = time.perf_counter()
            proba = pack.predict(
                lambda name=name, seed=seed: recipe(name, seed, pack.actor),
                kept,
                RECIPES[name].needs == "sequences",
            )
            seconds = time.perf_counter() - start
            print(
                f"{name}, seed {seed}: {pack.score(proba)[:, 0].mean():.2f} "
                f"({seconds:.0f} s)",
                flush=True,
            )
            said[name].append(proba)
    return said


def report(options, pack):
    """Return the lines of the report."""
    recipes = run_recipes(options, pack)
    plain = {k: [pack.predict(m)] for k, m in references(StandardScaler()).items()}
    actor = GroupStandardScaler(groups=pack.actor)
    fitted = {k: [pack.predict(m)] for k, m in references(actor).items()}
    head = f"{'':44s}{'n':>3s} {'acc':>7s} {'sd':>5s} {'vote':>6s} {'UA':>6s} "
    head += f"{'WF1':>6s}   accuracy of folds 0 to 4"
    lines = [
        f"RAVDESS, {len(pack.y)} clips, {len(pack.classes)} emotions, five published "
        "folds of disjoint actors",
        "Percent, means over the folds. n: seeds; sd: of the seeds' accuracy; vote: "
        "accuracy of the mean",
        "of their probabilities. LR: logistic regression.",
        "",
        "Published accuracy (Luna-Jimenez et al. 2022)",
        *(f"{name:44s}{'':3s} {score:7.2f}" for name, score in PUBLISHED.items()),
        "",
        "Raw speech (AcousticEncoder) and action units, nothing downloaded",
        head,
        *(pack.line(name, probas) for name, probas in plain.items()),
        *(pack.line(name, probas) for name, probas in recipes.items()),
        "",
        "Z-scores of each actor, test actors included: transductive",
        *(pack.line(name, probas) for name, probas in fitted.items()),
        "",
        "The authors' models: W fine-tuned wav2vec 2.0, B biLSTM on action units, "
        "M perceptron on them;",
        "products of probabilities, untrained, all weights 1",
        head,
    ]
    w, b, m = (pack.said[key] for key in "WBM")
    for name, proba in {"W": w, "B": b, "M": m, "W x B": w * b, "W x M": w * m}.items():
        lines.append(pack.line(name, [proba]))
    lines.append(pack.line("W x B x M", [w * b * m]))
    for name, probas in {**plain, **recipes}.items():
        lines.append(pack.line(f"W x B x {name}", [normed(w * b * p) for p in probas]))
        if len(probas) > 1:
            both = normed(w * b * np.mean(probas, axis=0))
            lines.append(pack.line(f"  the same, seeds voting in {name}", [both]))
    return lines


def normed(proba):
    return proba / proba.sum(axis=1, keepdims=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("SKMER_SHARED_DATA", HERE.parents[2] / "shared" / "data")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--work", type=Path, help="where to keep what recipes say")
    parser.add_argument("--cache", default="default", help="the encoder's cache")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "ravdess.txt")
    options = parser.parse_args()
    folder = options.folder / "ravdess"
    if not (folder / "ravdess_av.npz").is_file():
        parser.error(f"no {folder}; give the folder that holds ravdess/")
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    lines = report(options, Pack(folder, options.cache, options.n_jobs))
    print("\n".join(lines))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
