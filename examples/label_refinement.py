"""Wrong labels found, shown to a person, decided and learnt from.

Plants wrong labels among those of made clips and lets LabelRefiner find them: a table
of what it would change, tasks for Label Studio about what it doubts, an annotator's
answers read back (here the annotator is a function that knows the truth), and the
refined labels. Then what each is worth: models learn from the labels of their training
folds as they are, refined, or refined with decisions, and are scored on true ones.

Run it from the project's folder: ``python examples/label_refinement.py``
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.pipeline import make_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from skmer.datasets import make_clips
from skmer.ensemble import StreamVotingClassifier
from skmer.label_refinement import LabelRefiner, import_label_studio, write_decisions
from skmer.recipes import make_mertools_attention


def annotate(tasks, answers, truth, n_tasks):
    """Answer the first tasks and write what Label Studio would export."""
    done = json.loads(tasks.read_text(encoding="utf-8"))[:n_tasks]
    for task in done:
        result = dict(task["predictions"][0]["result"][0])
        result["value"] = {"choices": [str(truth[task["data"]["clip"]])]}
        task["annotations"] = [{"result": [result], "was_cancelled": False}]
    answers.write_text(json.dumps(done), encoding="utf-8")


def main(n_clips=300, output="label_refinement_output", n_jobs=2, wrong=0.2, n_folds=3):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips, features, tasks and decisions.
    n_jobs : int
        Worker processes.
    wrong : float
        Share of labels to make wrong.
    n_folds : int
        Folds of the scores.
    """
    output = Path(output).resolve()
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    cache = str(output / "features")
    encode = make_mertools_attention(cache=cache, n_jobs=n_jobs)[:2]
    X, truth = encode.fit_transform(clips.data), pd.Series(clips.target, clips.paths)
    rng = np.random.default_rng(0)
    planted = rng.choice(clips.paths, size=round(wrong * n_clips), replace=False)
    y = truth.copy()
    y[planted] = [rng.choice(list(set(clips.target_names) - {y[c]})) for c in planted]

    refiner = LabelRefiner(random_state=0)
    _, refined = refiner.fit_resample(X, y)
    report = refiner.report()
    report["clip"] = [Path(clip).stem for clip in report["clip"]]
    print(f"{len(planted)} of {n_clips} labels are wrong. What looks worst:")
    print(report.iloc[:5, :7].round(2).to_string(index=False))
    changed = refiner.changed_.to_numpy()
    rightly = int((y != truth)[changed].sum())
    print(f"{changed.sum()} are changed, {rightly} of them were wrong; ", end="")
    print(f"{(refined != truth).sum()} are wrong afterwards")

    refiner.export_label_studio(
        output / "tasks.json", clips.data, which="report", root=output
    )
    annotate(output / "tasks.json", output / "answers.json", truth, n_clips // 6)
    decisions = import_label_studio(output / "answers.json")
    write_decisions(output / "decisions.csv", decisions, overwrite=True)
    decided = LabelRefiner(decisions=output / "decisions.csv", random_state=0)
    _, labels = decided.fit_resample(X, y)
    print(f"With {len(decisions)} decisions {(labels != truth).sum()} are wrong\n")

    def on_truth(model, X, y):
        return f1_score(truth[X.index], model.predict(X), average="weighted")

    learn = StreamVotingClassifier(LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    splits = list(folds.split(X, truth))
    print("Weighted F1 on the true labels of held-out clips, after learning from")
    for what, steps, labels in [
        ("true labels", [], truth),
        ("true labels, refined", [refiner], truth),
        ("the labels with wrong ones", [], y),
        ("... refined", [refiner], y),
        ("... refined with decisions", [decided], y),
    ]:
        model = make_pipeline(*steps, StandardScaler(), learn)
        model.set_output(transform="pandas")  # names tell the streams
        scores = cross_val_score(model, X, labels, cv=splits, scoring=on_truth)
        print(f"  {what:<27} {scores.mean():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=300)
    parser.add_argument("--output", default="label_refinement_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--wrong", type=float, default=0.2)
    parser.add_argument("--n-folds", type=int, default=3)
    main(**vars(parser.parse_args()))
