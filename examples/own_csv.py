"""From a CSV file of one's own to a report, a saved model and labels for new clips.

Writes a small CSV file as people write them (made clips; put your own with
``--csv``), loads it, lets a mistake in it be told by row, evaluates a recipe with no
speaker in both parts of a fold, saves the model, and labels new clips with what is
loaded from the folder. Ends with a report to open in a browser.

Run it from the project's folder: ``python examples/own_csv.py``
"""

import argparse
from pathlib import Path

import pandas as pd

import skmer
from skmer.datasets import load_clips, make_clips
from skmer.evaluation import evaluate
from skmer.exceptions import DataFileError
from skmer.persistence import load_model, save_model
from skmer.recipes import make_mertools_attention


def write_csv(n_clips, folder, n_jobs):
    """Make clips, and a table of them as somebody might keep it."""
    made = make_clips(
        n_clips, folder / "clips", n_speakers=6, random_state=0, n_jobs=n_jobs
    )
    table = pd.DataFrame(
        {
            "path": [f"clips/{Path(path).name}" for path in made.paths],
            "label": made.target,
            "speaker": made.groups.to_numpy(),
            "text": made.data["text"].to_numpy(),
        }
    )
    table.to_csv(folder / "clips.csv", index=False)
    # The same with two slips, for what is said of them
    table.loc[3, "path"] = "clips/clip_003.mp4"
    table.loc[7, "label"] = "nan"
    table.to_csv(folder / "clips_with_mistakes.csv", index=False)
    return folder / "clips.csv"


def main(csv=None, n_clips=120, output="own_csv_output", n_jobs=2):
    """Run the example.

    Parameters
    ----------
    csv : path or None
        Your own table with the columns path, label and, if you have them, speaker
        and text. None makes clips and their table.
    n_clips : int
        How many clips to make.
    output : path
        Folder for all that is written.
    n_jobs : int
        Worker processes.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    skmer.set_config(cache_dir=str(output / "features"))
    if csv is None:
        csv = write_csv(n_clips, output, n_jobs)
        try:
            load_clips(output / "clips_with_mistakes.csv")
        except DataFileError as error:
            print(f"A table with two mistakes:\n{error}\n")
    clips = load_clips(csv)
    print(clips.DESCR)

    model = make_mertools_attention(n_jobs=n_jobs, random_state=0)
    report = evaluate(
        model, clips.data, clips.target, cv=3, groups=clips.groups, name="MERTools"
    )
    folder = report.save(output / "report", overwrite=True)
    print(f"Weighted F1, unweighted and weighted accuracy, 95 % intervals\n{report}\n")
    print("Plain classifiers on the same folds; gain is the recipe's lead in WAF")
    print(f"{report.references.round(3).to_string()}\n")

    save_model(model.fit(clips.data, clips.target), output / "model", overwrite=True)
    loaded = load_model(output / "model")
    new = make_clips(4, output / "new_clips", random_state=1)
    said = pd.DataFrame(
        loaded.predict_proba(new.data).max(axis=1).round(2), columns=["sure"]
    )
    said.insert(0, "predicted", loaded.predict(new.data))
    if csv == output / "clips.csv":
        said.insert(0, "really", new.target)
    print(f"What the loaded model says of new clips\n{said.to_string()}\n")
    print(f"Open {(folder / 'report.html').resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--csv", help="a table of your own clips")
    parser.add_argument("--n-clips", type=int, default=120)
    parser.add_argument("--output", default="own_csv_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    main(**vars(parser.parse_args()))
