"""The MERTools baseline: one vector a modality, fused by attention."""

from collections.abc import Mapping

from imblearn.pipeline import Pipeline
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from skmer.clips import ClipTable
from skmer.encoders import AcousticEncoder, TextEncoder, VisualEncoder
from skmer.fusion import AttentionFusionClassifier

# What the toolkit draws its settings from, in the names of this pipeline.
PARAM_GRID = {
    "fuse__hidden_size": [64, 128, 256],
    "fuse__dropout": [0.2, 0.3, 0.4, 0.5],
    "fuse__lr": [1e-3, 1e-4],
}


def make_mertools_attention(
    *,
    encoders="offline",
    streams=("audio", "video", "text"),
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
):
    """Build the attention-fusion baseline of the MERTools toolkit.

    The pipeline's steps: ``clips`` (:class:`~skmer.clips.ClipTable`), ``encode`` (a
    ColumnTransformer with one encoder a modality), ``scale`` (z-scores by training
    statistics), ``fuse`` (:class:`~skmer.fusion.AttentionFusionClassifier`). It fits
    on a list of paths or a clip frame.

    Parameters
    ----------
    encoders : "offline", dict of str to transformer, or None, default="offline"
        ``"offline"``: :class:`~skmer.encoders.AcousticEncoder` on the sound,
        :class:`~skmer.encoders.VisualEncoder` on the face and
        :class:`~skmer.encoders.TextEncoder` on the words, nothing to download. A
        dict gives transformers for the columns ``audio``, ``video``, ``text``.
        None leaves the first two steps out: X is then a feature frame whose column
        names begin with the streams.
    streams : str or sequence of str, default=("audio", "video", "text")
        The modalities to use. Leave out one that no clip has.
    sidecar_text : bool, default=False
        Read the words of a clip from the ``.txt``, ``.srt`` or ``.vtt`` file beside
        it. Off by default because such files sometimes hold labels.
    cache : "default", path or None, default="default"
        Folder of the feature cache of the offline encoders.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip or transcript that cannot be read: an error, or a
        missing stream and one warning. Not passed to encoders of your own.
    n_jobs : int or None, default=None
        Worker processes of the offline encoders.
    device : str, default="auto"
        Where the network trains: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    random_state : int, RandomState instance or None, default=None
        Seed of the network.
    verbose : bool, default=False
        Show a progress bar while clips are encoded.

    Returns
    -------
    model : imblearn.pipeline.Pipeline
        Unfitted.

    Raises
    ------
    ValueError
        If ``encoders`` is none of the above or lacks a stream.

    See Also
    --------
    skmer.datasets.make_clips : Makes clips to try it on.

    Notes
    -----
    ====================  =======================  ===============================
    MERTools says         we do                    why
    ====================  =======================  ===============================
    HuBERT, CLIP, RoBERTa ``encoders="offline"``   nothing to download; any other
                          or your own              transformer fits in
    features as they are  z-scores by training     streams differ in scale by
                          statistics               orders of magnitude
    no seed, folds drawn  ``random_state``, any    scores can be repeated
    anew in every run     ``cv`` of scikit-learn
    epoch with the best   last epoch               the best epoch of the fold that
    score of the fold                              is reported flatters the score
    missing part: zeros   masked stream            a clip without sound is not a
                                                   clip of silence
    ====================  =======================  ===============================

    The published scores (weighted F1 of the MER2024 baseline: 79.31 in
    cross-validation, 86.73 on the test clips) are of that challenge's data and its
    large encoders. ``skmer.recipes.MERTOOLS_ATTENTION_PARAM_GRID`` is the toolkit's
    search space in the names of this pipeline.

    References
    ----------
    Z. Lian et al. (2024). MER 2024: Semi-supervised learning, noise robustness, and
    open-vocabulary multimodal emotion recognition. arXiv:2404.17113.

    Examples
    --------
    >>> from skmer.recipes import make_mertools_attention
    >>> [name for name, _ in make_mertools_attention().steps]
    ['clips', 'encode', 'scale', 'fuse']
    """
    streams = (streams,) if isinstance(streams, str) else tuple(streams)
    steps = []
    if encoders is not None:
        chosen = _encoders(
            encoders,
            streams,
            cache=cache,
            on_error=on_error,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        union = ColumnTransformer([(name, chosen[name], name) for name in streams])
        steps = [
            ("clips", ClipTable(sidecar_text=sidecar_text, on_error=on_error)),
            ("encode", union),
        ]
    fuse = AttentionFusionClassifier(
        streams=streams,
        dropout=0.3,
        max_epochs=30,
        stream_heads=None,
        device=device,
        random_state=random_state,
    )
    steps += [("scale", StandardScaler()), ("fuse", fuse)]
    return Pipeline(steps).set_output(transform="pandas")


def _encoders(encoders, streams, **common):
    if isinstance(encoders, Mapping):
        chosen = dict(encoders)
    elif isinstance(encoders, str) and encoders == "offline":
        chosen = {
            "audio": AcousticEncoder(**common),
            "video": VisualEncoder(regions=("face",), **common),
            "text": TextEncoder(**common),
        }
    else:
        raise ValueError(
            "encoders must be 'offline', None, or a dict of transformers for audio, "
            f"video and text. Got {encoders!r}."
        )
    absent = [name for name in streams if name not in chosen]
    if absent:
        raise ValueError(
            f"No encoder for the stream {absent[0]!r}. encoders has "
            f"{', '.join(chosen)}; streams asks for {', '.join(streams)}."
        )
    return chosen
