"""An encoder of one's own in twenty lines, and what it adds to a recipe.

The class below hears how loud each octave of a clip's sound is. It inherits cache,
worker processes, clips without sound and errors for broken files; one call checks that
it behaves; by name it takes a place in a recipe, here beside the encoders that come
with the package.

Run it from the project's folder: ``python examples/custom_encoder.py``
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import FeatureUnion

from skmer.clips import ClipEncoder
from skmer.datasets import make_clips
from skmer.encoders import AcousticEncoder
from skmer.exceptions import MediaError
from skmer.media import read_audio
from skmer.recipes import make_mertools_attention
from skmer.utils.estimator_checks import check_clip_encoder


class OctaveEncoder(ClipEncoder):
    """How loud each octave from 31 to 8000 Hz is, and how much that changes."""

    _column = "audio"  # "audio" and "video" give it paths, "text" words

    def _feature_names(self):
        return [f"{what}{i}" for what in ("level", "change") for i in range(8)]

    def _encode(self, cells):
        return [self._levels(path) for path in cells]

    def _levels(self, path):
        try:
            sound = read_audio(path, rate=16000)
        except MediaError as error:
            return error  # an error or a row of NaN, as on_error says
        if sound is None or len(sound) < 512:
            return None  # no sound is no error: a row of NaN
        spectra = np.abs(np.fft.rfft(sliding_window_view(sound, 512)[::512]))
        level = np.log(np.add.reduceat(spectra, 2 ** np.arange(8), axis=1) + 1e-3)
        return np.concatenate([level.mean(axis=0), level.std(axis=0)])


def main(n_clips=240, output="custom_encoder_output", n_jobs=2, n_folds=6):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips and features.
    n_jobs : int
        Worker processes.
    n_folds : int
        Folds of the cross-validation.
    """
    output = Path(output)
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    encoder = OctaveEncoder(cache=str(output / "features"), n_jobs=n_jobs)

    start = time.perf_counter()
    check_clip_encoder(encoder, clips.paths[:8])
    print(f"OctaveEncoder passes all checks ({time.perf_counter() - start:.1f} s)")

    start = time.perf_counter()
    X = encoder.set_output(transform="pandas").fit_transform(clips.data)
    cold = time.perf_counter() - start
    encoder.transform(clips.data)
    warm = time.perf_counter() - start - cold
    n_silent = X.isna().any(axis=1).sum()
    print(f"{len(X)} clips, {X.shape[1]} numbers each; {n_silent} have no sound: NaN")
    print(f"{cold:.2f} s computed, {warm:.2f} s from the cache\n")

    acoustic = AcousticEncoder(cache=encoder.cache, n_jobs=n_jobs)
    both = FeatureUnion([("octaves", encoder), ("acoustic", acoustic)])
    choices = {"OctaveEncoder": encoder, "AcousticEncoder": acoustic, "both": both}
    print("Weighted F1 of the MERTools baseline on the sound alone")
    X, y = clips.paths, clips.target
    cv = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    for name, chosen in choices.items():
        model = make_mertools_attention(
            streams="audio", encoders={"audio": chosen}, random_state=0
        )
        scores = cross_val_score(model, X, y, cv=cv, scoring="f1_weighted")
        n_features = len(chosen.fit(X).get_feature_names_out())
        print(f"  {name:<16} {scores.mean():.3f} +- {scores.std():.3f}", end="")
        print(f"  ({n_features} features)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=240)
    parser.add_argument("--output", default="custom_encoder_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--n-folds", type=int, default=6)
    main(**vars(parser.parse_args()))
