"""From video files to a judged, saved emotion model, with nothing to download.

Makes short videos of six emotions, cross-validates the MERTools attention baseline on
the list of their paths, compares it with each modality alone, and shows what it gets
right, which modality it listens to, and what the feature cache saves.

Run it from the project's folder: ``python examples/quickstart.py``
"""

import argparse
import shutil
import time
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score

from skmer.datasets import make_clips
from skmer.metrics import ModalityWeightsDisplay
from skmer.recipes import make_mertools_attention


def main(n_clips=240, output="quickstart_output", n_jobs=2):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips, features, pictures and the model.
    n_jobs : int
        Worker processes.
    """
    output = Path(output)
    begun = time.perf_counter()

    print(f"1. Making {n_clips} video clips in {output / 'clips'}")
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    X_videos, y = clips.paths, clips.target
    print(f"   {time.perf_counter() - begun:.1f} s")

    # An earlier run's features would make the first one below warm.
    shutil.rmtree(output / "features", ignore_errors=True)
    common = {
        "encoders": "offline",
        "sidecar_text": True,
        "cache": str(output / "features"),
        "n_jobs": n_jobs,
        "random_state": 0,
    }
    model = make_mertools_attention(**common)
    cv = StratifiedKFold(6, shuffle=True, random_state=0)

    print("2. Six-fold cross-validation on the list of video paths, weighted F1")
    start = time.perf_counter()
    scores = cross_val_score(model, X_videos, y, cv=cv, scoring="f1_weighted")
    cold = time.perf_counter() - start
    print(f"   all modalities  {scores.mean():.3f} +- {scores.std():.3f}")
    for modality in ("audio", "video", "text"):
        single = make_mertools_attention(streams=(modality,), **common)
        scores = cross_val_score(single, X_videos, y, cv=cv, scoring="f1_weighted")
        print(f"   {modality:<15} {scores.mean():.3f} +- {scores.std():.3f}")

    print("3. Class by class, each clip judged by the model that did not see it")
    start = time.perf_counter()
    predicted = cross_val_predict(model, X_videos, y, cv=cv)
    warm = time.perf_counter() - start
    print(classification_report(y, predicted, zero_division=0))
    display = ConfusionMatrixDisplay.from_predictions(
        y, predicted, normalize="true", values_format=".2f", xticks_rotation=45
    )
    display.ax_.set_title("share of the true class, cross-validated")
    display.figure_.savefig(output / "confusion_matrix.png", bbox_inches="tight")

    print("4. Fitting on all clips; saving, loading, judging one new clip")
    model.fit(X_videos, y)
    weights = ModalityWeightsDisplay.from_estimator(model, X_videos, y)
    weights.ax_.set_title("share of attention by true class, training clips")
    weights.figure_.savefig(output / "modality_weights.png", bbox_inches="tight")
    plt.close("all")
    joblib.dump(model, output / "model.joblib")
    loaded = joblib.load(output / "model.joblib")
    new = make_clips(1, output / "new_clip", random_state=1)
    probabilities = loaded.predict_proba(new.paths)[0]
    print(f"   {new.paths[0]}: really {new.target[0]}")
    for name, probability in zip(loaded.classes_, probabilities, strict=True):
        print(f"   {name:<10} {probability:.2f}")

    print("5. Six folds of fitting and scoring, extraction included")
    print(f"   cold (features computed)   {cold:6.1f} s")
    print(f"   warm (features in cache)   {warm:6.1f} s")
    print(f"   everything                 {time.perf_counter() - begun:6.1f} s")
    print(f"Pictures and model are in {output.resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=240)
    parser.add_argument("--output", default="quickstart_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    main(**vars(parser.parse_args()))
