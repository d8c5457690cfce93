"""The MERTools baseline: one vector a modality, fused by attention."""

from imblearn.pipeline import Pipeline

from skmer.encoders import SpeechEncoder, TextEncoder, VisualEncoder
from skmer.fusion import AttentionFusionClassifier
from skmer.recipes._common import (
    clip_steps,
    feature_scaler,
    regions_of,
    several,
    stream_names,
)

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
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
    n_seeds=1,
):
    """Build the attention-fusion baseline of the MERTools toolkit.

    The pipeline's steps: ``clips`` (:class:`~skmer.clips.ClipTable`), ``encode`` (a
    ColumnTransformer with one encoder a modality), ``scale`` (z-scores by training
    statistics), ``fuse`` (:class:`~skmer.fusion.AttentionFusionClassifier`). It fits
    on a list of paths or a clip frame.

    Parameters
    ----------
    encoders : {"offline", "paper"}, dict of str to transformer, or None, \
            default="offline"
        ``"offline"``: :class:`~skmer.encoders.AcousticEncoder` on the sound,
        :class:`~skmer.encoders.VisualEncoder` on the face and
        :class:`~skmer.encoders.TextEncoder` on the words, nothing to download.
        ``"paper"``: Chinese HuBERT-large, CLIP ViT-L/14 and Chinese
        RoBERTa-wwm-ext-large from the Hugging Face hub, pooled as the toolkit pools.
        A dict gives transformers for the columns ``audio``, ``video``, ``text``, which
        keep settings of their own; those of no stream are not used.
        None leaves the steps before ``scale`` out: X is then a feature frame whose
        column names begin with the streams.
    streams : str or sequence of str, default=("audio", "video", "text")
        The modalities to use, or streams below them (``video__face``,
        ``video__frame``). Leave out one that no clip has.
    annotators : list of transformers, default=None
        Steps that fill in or enrich the words of the clip table before they are
        encoded: :class:`~skmer.enrichment.Transcriber`,
        :class:`~skmer.enrichment.ChatAnnotator`...
    sidecar_text : bool, default=False
        Read the words of a clip from the ``.txt``, ``.srt`` or ``.vtt`` file beside
        it. Off by default because such files sometimes hold labels.
    cache : "default", path or None, default="default"
        Folder of the encoders' feature cache.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip or transcript that cannot be read: an error, or a
        missing stream and one warning. Not passed to encoders of your own.
    n_jobs : int or None, default=None
        Worker processes of the encoders.
    device : str, default="auto"
        Where encoders and network run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    random_state : int, RandomState instance or None, default=None
        Seed of the network.
    verbose : bool, default=False
        Show a progress bar while clips are encoded.
    n_seeds : int, default=1
        Networks that are trained from different seeds and vote, see Notes. With more
        than one, ``fuse`` is a :class:`~skmer.ensemble.SeedVotingClassifier`, and what
        is ``fuse__lr`` here and in the search space is ``fuse__estimator__lr``.

    Returns
    -------
    model : imblearn.pipeline.Pipeline
        Unfitted.

    Raises
    ------
    ValueError
        If ``encoders`` is none of the above or lacks a modality, or ``streams`` names
        none.

    See Also
    --------
    skmer.datasets.make_clips : Makes clips to try it on.

    Notes
    -----
    =====================  ======================  ===============================
    MERTools says          we do                   why
    =====================  ======================  ===============================
    HuBERT, CLIP, RoBERTa  ``encoders="paper"``;   nothing to download; any other
                           default ``"offline"``   transformer fits in
    faces by OpenFace in   by OpenCV, see          nothing to install; images cost
    every frame            ``face_detector=``; in  most of the time of encoding on
                           8 frames "offline"      a CPU
    features as they are   z-scores by training    streams differ in scale by
                           statistics              orders of magnitude
    weight decay 1e-5      1e-3                    features outnumber clips where
                                                   there are hundreds of these
    settings drawn at      128 wide, dropout 0.3,  one point of its search space;
    random, 100 epochs     1e-3, 30 epochs         all of it is named below
    all streams of a clip  in training some are    a clip may lack some
                           hidden at random
    no seed, folds drawn   ``random_state``, any   scores can be repeated
    anew in every run      ``cv`` of scikit-learn
    epoch with the best    last epoch              the best epoch of the fold that
    score of the fold                              is reported flatters the score
    missing part: zeros    masked stream           a clip without sound is not a
                                                   clip of silence
    =====================  ======================  ===============================

    The weights of the streams are raw numbers that multiply codes, and both grow while
    the net trains: of 30 clips, after 30 epochs, until probabilities are 0 or 1 whether
    right or wrong. Where they matter, scikit-learn's ``CalibratedClassifierCV(model,
    method="temperature", ensemble=False)`` makes them as sure as held-out clips allow;
    the classes it predicts are those of ``model``. Features alone are
    ``model[:2].fit_transform(clips)``, where there are no annotators;
    ``encoders=None`` takes them.

    On 600 clips of :func:`~skmer.datasets.make_clips` (six stratified folds, offline
    encoders, three modalities) weighted F1 was 91.5 and, on other folds, 89.4; on 600
    other clips 89.2. With the toolkit's weight decay these were 89.7, 88.7 and 88.1; a
    logistic regression on the same columns had 89.2, 89.2 and 88.2. One to three seeds
    each, 1.4 points apart: differences of a point are near noise. With ``n_seeds=5``
    the second was 92.5, 3.3 above the regression (95 % interval 1.5 to 5.1), three
    such votes 0.1 apart. Accuracy on RAVDESS (raw speech and action units, published
    folds, nothing downloaded) was 76.2, five seeds 1.6 apart, and 79.4 where these
    vote; see ``benchmarks/published/results``.

    The published scores (weighted F1 of the MER2024 baseline: 79.31 in
    cross-validation, 86.73 on the test clips) are of that challenge's data and its
    large encoders: not reproduced here, as its clips are given out under a licence.
    ``skmer.recipes.MERTOOLS_ATTENTION_PARAM_GRID`` is the toolkit's search space in
    the names of this pipeline.

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
    streams = stream_names(streams)
    steps = clip_steps(
        encoders,
        streams,
        paper=_paper_encoders,
        annotators=annotators,
        sidecar_text=sidecar_text,
        cache=cache,
        on_error=on_error,
        n_jobs=n_jobs,
        device=device,
        verbose=verbose,
    )
    fuse = AttentionFusionClassifier(
        streams=streams,
        dropout=0.3,
        max_epochs=30,
        weight_decay=1e-3,
        stream_heads=None,
        device=device,
        random_state=random_state,
    )
    steps += [("scale", feature_scaler(encoders)), ("fuse", several(fuse, n_seeds))]
    return Pipeline(steps).set_output(transform="pandas")


def _paper_encoders(streams, *, device, **common):
    common["device"] = device
    return {
        "audio": SpeechEncoder(
            "TencentGameMate/chinese-hubert-large", preset="mertools", **common
        ),
        "video": VisualEncoder(
            "openai/clip-vit-large-patch14",
            regions=regions_of(streams),
            preset="mertools",
            **common,
        ),
        "text": TextEncoder(
            "hfl/chinese-roberta-wwm-ext-large", preset="mertools", **common
        ),
    }
