"""MMEF-Net: fused embedding, chi-square test, perceptron, and machines that vote."""

from imblearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skmer.ensemble import CrossFitTransformer, SVMEnsembleClassifier
from skmer.feature_selection import ChiSquareSelector
from skmer.fusion import ConcatFusionClassifier, DynamicWeightingFusionClassifier
from skmer.recipes._common import clip_steps, feature_scaler, stream_names
from skmer.recipes._mer2025 import (
    STREAMS,
    check_option,
    paper_encoders,
    paper_training,
    refine_steps,
)

# The paper gives one setting and no search space; this one is ours.
PARAM_GRID = {
    "fuse__estimator__dropout": [0.4, 0.6],
    "fuse__estimator__lr": [1e-3, 3e-4],
    "select__k": [0.25, 0.5, 1.0],
    "vote__C": [0.1, 1.0, 10.0],
}
# Folds of networks whose codes of held-out clips the next steps learn from
_N_FOLDS = 5


def make_mmef_net(
    *,
    encoders="offline",
    streams=STREAMS,
    annotators=None,
    sidecar_text=False,
    cache="default",
    on_error="raise",
    n_jobs=None,
    device="auto",
    random_state=None,
    verbose=False,
    refine="posterior",
    embeddings="cross-fit",
    variant="sound",
):
    """Build MMEF-Net, the system of Dubey and Kadwal for MER2025-SEMI.

    The pipeline's steps: ``clips`` (:class:`~skmer.clips.ClipTable`), those of
    ``annotators``, ``encode`` (a ColumnTransformer with one encoder a modality),
    ``refine`` (:class:`~skmer.label_refinement.LabelRefiner`, in training only),
    ``scale`` (z-scores by training statistics), ``fuse`` (codes of a
    :class:`~skmer.fusion.DynamicWeightingFusionClassifier`), ``select``
    (:class:`~skmer.feature_selection.ChiSquareSelector`), ``project`` (hidden layer of
    a perceptron, :class:`~skmer.fusion.ConcatFusionClassifier`), ``standardize``, and
    ``vote`` (:class:`~skmer.ensemble.SVMEnsembleClassifier`). ``fuse`` and ``project``
    are each in a :class:`~skmer.ensemble.CrossFitTransformer`.

    Parameters
    ----------
    encoders : {"offline", "paper"}, dict of str to transformer, or None, \
            default="offline"
        ``"offline"``: :class:`~skmer.encoders.AcousticEncoder` on the sound,
        :class:`~skmer.encoders.VisualEncoder` on face and frame and
        :class:`~skmer.encoders.TextEncoder` on the words, nothing to download.
        ``"paper"``: Chinese HuBERT-large (mean of blocks 16 to 21), CLIP ViT-L/14 and
        Chinese RoBERTa-wwm-ext-large from the Hugging Face hub. A dict gives
        transformers for the columns ``audio``, ``video``, ``text``, which keep settings
        of their own; those of no stream are not used. None leaves the steps before
        ``refine`` out: X is then a feature frame whose column names begin with the
        streams.
    streams : str or sequence of str, \
            default=("audio", "video__face", "video__frame", "text")
        The streams to use, a token each. Leave out one that no clip has.
    annotators : list of transformers, default=None
        Steps that fill in or enrich the words of the clip table before they are
        encoded: :class:`~skmer.enrichment.Transcriber`, and for what GPT-4 and
        Qwen-Omni do in the paper :class:`~skmer.enrichment.ChatAnnotator` and
        :class:`~skmer.enrichment.OmniAnnotator`.
    sidecar_text : bool, default=False
        Read the words of a clip from the ``.txt``, ``.srt`` or ``.vtt`` file beside
        it. Off by default because such files sometimes hold labels.
    cache : "default", path or None, default="default"
        Folder of the encoders' feature cache.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a clip or transcript that cannot be read: an error, or a
        missing stream and one warning. Not passed to encoders of your own.
    n_jobs : int or None, default=None
        Worker processes of the encoders and of ``refine``, threads of ``vote``.
    device : str, default="auto"
        Where encoders and networks run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    random_state : int, RandomState instance or None, default=None
        Seed of all steps.
    verbose : bool, default=False
        Show a progress bar while clips are encoded.
    refine : {"posterior", "majority"} or None, default="posterior"
        Whether, and by which rule, weak classifiers of the streams correct training
        labels: by a model of how far each is to be trusted, or by counting votes as
        the paper does. Labels of language models join the vote by
        ``set_params(refine__extra_labels=...)``. None: labels stay as they are.
    embeddings : {"cross-fit", "paper"}, default="cross-fit"
        Which codes of training clips the steps after ``fuse`` learn from: those of
        networks that have not seen these clips, or (``"paper"``) those of the one
        that was trained on them, at a sixth of the time.
    variant : {"sound", "paper"}, default="sound"
        ``"paper"`` follows the letter: attention over one vector of all streams,
        ``lr=5e-5`` and 200 epochs, gradients clipped at norm 1, no dropout of whole
        streams, chi-square scores of values scaled to [0, 1], and a vote by majority,
        which has no probabilities. ``refine="majority"`` and ``embeddings="paper"``
        are chosen apart.

    Returns
    -------
    model : imblearn.pipeline.Pipeline
        Unfitted.

    Raises
    ------
    ValueError
        If ``encoders`` is none of the above or lacks a modality, ``streams`` names
        none, or a switch has another value than those named.

    See Also
    --------
    make_ecmf : Of the same challenge; one network and variants of it that vote.
    skmer.datasets.make_clips : Makes clips to try it on.

    Notes
    -----
    =====================  ======================  ===============================
    MMEF-Net says          we do                   why
    =====================  ======================  ===============================
    HuBERT, CLIP, RoBERTa  ``encoders="paper"``;   nothing to download; any other
                           default ``"offline"``   transformer fits in
    faces by OpenFace and  8 of each a clip, by    images cost most of the time
    frames of the clip     OpenCV; ``n_frames=``,  of encoding on a CPU, and there
                           ``face_detector=``      is nothing to install
    words with labels,     ``annotators=``;        one pass of one prompt for all
    keywords and cues of   default: the words      clips; models are the user's
    GPT-4 and Qwen-Omni    alone
    attention over the     a token each stream;    softmax over a single vector is
    concatenated vector    else ``variant=``       1, so nothing would be weighed
    chi-square test of     quantile bins           the test takes counts, not
    signed numbers         ``score_func=``         numbers of either sign
    chi-square between     two networks, one       the choice of columns has no
    attention and MLP      after the other         gradient
    MLP and SVMs on the    codes of networks that  such codes, not those of
    network's embedding    have not seen the clip  seen ones, meet new clips
    SVMs differ in seeds   seeds draw 70 % of the  an SVM has no randomness; the
    and subsets            columns                 paper speaks of subsets
    majority of SVMs       mean of calibrated      probabilities, and ties that
                           probabilities           need no rule
    chi-square scores as   none; ``confidence=``   they are scores of columns, not
    votes on labels        of LabelRefiner         of clips
    labels by vote, then   out of fold, in the     classifiers that saw a label
    checked by hand        training part only;     repeat it; scores are on the
                           ``decisions=``          original labels
    scores of gradients    ``saliency`` of the     they chose layers there, by
    tell what counts       fitted network          what rule is not said
    learning rate 5e-5,    1e-3, 30 epochs, whole  for hundreds of clips; the
    200 epochs, gradients  streams hidden from     paper's are in ``variant=``
    clipped at 1           the net at random
    six folds, and the     any ``cv`` of           the best epoch of the fold that
    best epoch of each     scikit-learn; the last  is reported flatters the score
                           epoch
    =====================  ======================  ===============================

    Codes of RAVDESS clips from networks that have not seen them gave the machines a
    weighted F1 of 69.1 in place of 67.5, on 400 clips of ``make_clips`` 91.3 in place
    of 92.5: one seed, differences near those of chance. A perceptron that is
    cross-fitted too (``project__cv=5``) gained nothing on either
    (``benchmarks/mmef_embeddings.py``). On RAVDESS the product of one logistic
    regression a stream has 72.3.

    On 600 clips of ``make_clips``, six folds, offline encoders, weighted F1 is 89.8
    (95 % interval 87.8 to 91.8, three seeds); one logistic regression on all streams
    has 88.3.
    Accuracy on RAVDESS (raw speech and action units, published folds, nothing
    downloaded) is 78.0, five seeds 0.9 apart, and 81.5 where these vote; the product of
    one regression a stream has 81.9. See ``benchmarks/published/results``.

    Published (weighted F1, cross-validation and test clips of MER2025-SEMI): 82.05 and
    76.80 for its baseline, 84.84 and 87.14 before the vote, 87.52 on the test clips
    with it. Eleven of the twelve pairs of its Table I are those of ECMF's Table 1, two
    rows exchanged and one renamed; only the last row, 87.52, differs (87.49). The two
    networks are different, so take the rows as figures of one of them at most; the
    chi-square test and the support vector machines have none of their own. Not
    reproduced: clips of the challenge are given out under a licence.
    ``skmer.recipes.MMEF_NET_PARAM_GRID`` is a search space of ours.

    The speaker of each training clip, where known, makes networks more robust:
    ``set_params(fuse__estimator__groups=..., fuse__groups=..., vote__groups=...)``,
    Series by clip id.

    Features alone are ``model[:2].fit_transform(clips)``, where there are no
    annotators; ``encoders=None`` takes them.

    References
    ----------
    H. Dubey and M. Kadwal. MMEF-Net: Multimodal Emotion Feature Network with Contextual
    Enrichment and Dynamic Modality Weighting.

    J. Hu, Y. Li, J. Li, S. Chen and P. Wong (2025). ECMF: Enhanced Cross-Modal Fusion
    for Multimodal Emotion Recognition in MER-SEMI Challenge. arXiv:2508.05991.

    Examples
    --------
    >>> from skmer.recipes import make_mmef_net
    >>> names = [name for name, _ in make_mmef_net().steps]
    >>> names[:5], names[5:]
    (['clips', 'encode', 'refine', 'scale', 'fuse'],
     ['select', 'project', 'standardize', 'vote'])
    """
    check_option("variant", variant, ("sound", "paper"))
    check_option("embeddings", embeddings, ("cross-fit", "paper"))
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
    seeds = {"random_state": random_state}
    cv = _N_FOLDS if embeddings == "cross-fit" else None
    literal = variant == "paper"
    # Heads of single streams would have no say: what counts are the codes.
    nets = {"stream_heads": None, "device": device}
    nets.update(paper_training() if literal else {})
    fuse = DynamicWeightingFusionClassifier(variant=variant, streams=streams, **nets)
    project = ConcatFusionClassifier(**nets)
    select = ChiSquareSelector(score_func="minmax" if literal else "binned")
    vote = SVMEnsembleClassifier(
        voting="hard" if literal else "soft", n_jobs=n_jobs, **seeds
    )
    steps += [
        *refine_steps(refine, streams, n_jobs=n_jobs, **seeds),
        ("scale", feature_scaler(encoders)),
        ("fuse", CrossFitTransformer(fuse, cv=cv, **seeds)),
        ("select", select),
        ("project", CrossFitTransformer(project, cv=None, **seeds)),
        ("standardize", StandardScaler()),
        ("vote", vote),
    ]
    return Pipeline(steps).set_output(transform="pandas")


def _paper_encoders(streams, **common):
    return paper_encoders(streams, layer_pooling="mean", **common)
