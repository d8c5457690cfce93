"""Which layer of a speech model tells emotions apart, and what that choice is worth.

Scores every layer of a model on made clips by cross-validation and draws them; then
chooses the layer anew inside of each training fold, which is the honest score of "take
the best layer". A model has to be downloaded, or given as a folder: ``--model``.
Where there is none, ``--model tiny`` builds a small one with random weights through
transformers. That shows how a scan works; which layers of a real model are good it
cannot show.

Run it from the project's folder: ``python examples/layer_scan.py --model tiny``
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmer.datasets import make_clips
from skmer.encoders import AcousticEncoder, SpeechEncoder
from skmer.metrics import LayerScanDisplay
from skmer.preprocessing import ModalityImputer


def random_model(folder):
    """Save a HuBERT of eight blocks that has learnt nothing."""
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=96,
        num_hidden_layers=8,
        num_attention_heads=4,
        intermediate_size=192,
        conv_dim=[48] * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return str(folder)


def main(model, n_clips=150, output="layer_scan_output", n_jobs=2):
    """Run the example.

    Parameters
    ----------
    model : str
        A name on the Hugging Face hub, a folder, or ``"tiny"``.
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips, features and the picture.
    n_jobs : int
        Worker processes.
    """
    output = Path(output).resolve()
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    X, y = np.array(clips.paths), clips.target
    if model == "tiny":
        print("A small model with RANDOM weights: its layers are no guide to real ones")
        model = random_model(output / "tiny_model")
    encoder = SpeechEncoder(model, cache=str(output / "features"), n_jobs=n_jobs)
    classifier = make_pipeline(
        ModalityImputer(), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    common = {"cv": folds, "scoring": "f1_weighted"}
    try:
        display = LayerScanDisplay.from_estimator(encoder, classifier, X, y, **common)
    except OSError as error:
        raise SystemExit(f"{error}\nOr try a random one: --model tiny") from None
    display.figure_.savefig(output / "layers.png")
    means = display.scores.mean(axis=1)
    print("Weighted F1, five folds")
    for layer, mean, std in zip(
        display.layers, means, display.scores.std(axis=1), strict=True
    ):
        print(f"  layer {layer:<3} {mean:.3f} +- {std:.3f}")

    # The scan left all layers in the cache: nothing is computed again below.
    encoder.set_params(cache_layers="all", n_jobs=None)
    pipeline = make_pipeline(encoder, classifier)
    grid = {"speechencoder__layers": display.layers}
    search = GridSearchCV(pipeline, grid, cv=3, scoring="f1_weighted")
    nested = cross_val_score(search, X, y, **common, n_jobs=n_jobs)
    acoustic = AcousticEncoder(cache=encoder.cache, n_jobs=n_jobs)
    plain = cross_val_score(make_pipeline(acoustic, classifier), X, y, **common)
    best = display.layers[int(means.argmax())]
    print(f"\nbest layer, {best}, by its own score   {means.max():.3f} (optimistic)")
    print(f"layer chosen in each training fold {nested.mean():.3f} (honest)")
    print(f"AcousticEncoder, no model at all   {plain.mean():.3f}")
    print(f"Picture: {output / 'layers.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="facebook/hubert-base-ls960")
    parser.add_argument("--n-clips", type=int, default=150)
    parser.add_argument("--output", default="layer_scan_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    main(**vars(parser.parse_args()))
