"""Load the MER challenges from the files that their organisers give out."""

import os

from skmer.datasets._folders import check_root
from skmer.datasets._mer_clips import labelled_and_others, labelled_parts, make_bunch
from skmer.utils._sklearn import StrOptions, validate_params

_COMMON = {
    "root": [str, os.PathLike],
    "language": [StrOptions({"chinese", "english"})],
    "transcripts": [str, os.PathLike, None],
    "video": ["boolean"],
    "on_error": [StrOptions({"raise", "nan"})],
}
_PARTS = ("train", "test1", "test2", "test3")


@validate_params(
    {**_COMMON, "parts": [str, list, tuple, None], "unlabelled": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_mer2023(
    root,
    *,
    parts=None,
    unlabelled=False,
    language="chinese",
    transcripts=None,
    video=True,
    on_error="raise",
):
    """Load MER2023 from its released files.

    Clips of Chinese films and series with one of six emotions and a valence: 3,373 to
    train on, 411 of the track MULTI (``test1``), 412 of NOISE (``test2``), 834
    labelled ones of SEMI (``test3``), which come among 73,148 others [1]_::

        mer2023-dataset/
            train-label.csv     test1-label.csv     test2-label.csv ...
            train/              test1/              test2/ ...
                sample_00000000.avi ...

    Label files and words are found up to three folders below ``root``.

    Parameters
    ----------
    root : str or PathLike
        Folder of the data set.
    parts : str or sequence of str, default=None
        Which of ``"train"``, ``"test1"``, ``"test2"`` and ``"test3"`` to load. None:
        those whose label file is there.
    unlabelled : bool, default=False
        Load the clips of ``test3`` that have no label too.
    language : {"chinese", "english"}, default="chinese"
        Column of the transcripts to take.
    transcripts : str or PathLike, default=None
        CSV file with the columns ``name``, ``chinese`` and ``english``. None:
        ``transcription-engchi-polish.csv`` of the MERTools toolkit where it is there;
        clips have no words otherwise.
    video : bool, default=True
        Look for the video files. False is for labels, words and features.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of labelled clips without a video file: an error, or a clip
        without video and sound and one warning.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        With these attributes:

        data : DataFrame of shape (n_clips, 3)
            Columns ``video``, ``audio`` (paths) and ``text``, each of str or None,
            indexed by clip id, which is the challenge's name of the clip.
        target : ndarray of object of shape (n_clips,)
            Classes, None where unlabelled.
        target_names : list of str of length 6
            neutral, angry, happy, sad, worried, surprise.
        valence : Series of float of shape (n_clips,)
            By clip id, from -5 to 5; NaN where there is none.
        groups : None
            Speakers are not known.
        folds : Series of str of shape (n_clips,), or None
            Part of each labelled clip by clip id, for
            ``ReferenceFolds(folds, test="test1", train="train")``; None where one
            part is loaded.
        parts : Series of str of shape (n_clips,)
            Part of each clip, by clip id.
        DESCR : str
            Description.

    Raises
    ------
    DataFileError
        If files are missing or hold something else.

    Warns
    -----
    ExtractionWarning
        If clips have no video file and ``on_error="nan"``.

    See Also
    --------
    load_mertools : Loads label files and features of the MERTools toolkit.

    References
    ----------
    .. [1] Z. Lian et al. (2023). MER 2023: Multi-label learning, modality robustness,
       and semi-supervised learning. ACM Multimedia. :doi:`10.1145/3581783.3612836`
    """
    root = check_root(root, "train-label.csv and the folder train of MER2023")
    if parts is not None:
        parts = [parts] if isinstance(parts, str) else list(parts)
        wrong = [part for part in parts if part not in _PARTS]
        if wrong or not parts:
            raise ValueError(f"parts must be of {', '.join(_PARTS)}. Got {parts!r}.")
    labels, where = labelled_parts(root, _PARTS, parts, unlabelled)
    return make_bunch(
        "MER2023",
        root,
        labels,
        where,
        sorted(set(where.values())) if video else None,
        ["transcription-engchi-polish.csv"],
        {"language": language, "transcripts": transcripts, "on_error": on_error},
    )


_LATER = {
    **_COMMON,
    "unlabelled": [StrOptions({"all", "candidates"}), None],
}


@validate_params(_LATER, prefer_skip_nested_validation=True)
def load_mer2024(
    root,
    *,
    unlabelled=None,
    language="chinese",
    transcripts=None,
    video=True,
    on_error="raise",
):
    """Load MER2024 (tracks SEMI and NOISE) from its released files.

    5,030 labelled clips of Chinese films and series with one of six emotions, and
    115,595 unlabelled ones, of which 20,000 are candidates to be predicted [1]_::

        mer2024-dataset/
            label-disdim.csv            label-transcription.csv
            candidate_20000.csv
            video-labeled/              video-unlabeled-with-test2noise/
                samplenew_00000000.mp4 ...

    Tables are found up to three folders below ``root``.

    Parameters
    ----------
    root : str or PathLike
        Folder of the data set.
    unlabelled : {"all", "candidates"}, default=None
        Which unlabelled clips to load too, after the labelled ones; None: none.
        ``"candidates"`` are those that ``candidate_20000.csv`` lists.
    language : {"chinese", "english"}, default="chinese"
        Column of the transcripts to take.
    transcripts : str or PathLike, default=None
        CSV file with the columns ``name`` and ``chinese`` (or ``sentence``), maybe
        ``english``. None: ``transcription-merge.csv`` of the MERTools toolkit, which
        has all clips, or else ``label-transcription.csv``, which has the labelled
        ones; clips have no words otherwise.
    video : bool, default=True
        Look for the video files. False is for labels, words and features.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of listed clips without a video file: an error, or a clip without
        video and sound and one warning.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        As :func:`load_mer2023` returns it, with ``parts`` ``"train"`` and
        ``"unlabelled"``, and without folds: the challenge sets none.

    Raises
    ------
    DataFileError
        If files are missing or hold something else.

    Warns
    -----
    ExtractionWarning
        If clips have no video file and ``on_error="nan"``.

    See Also
    --------
    to_submission : Writes predictions of the candidates.

    References
    ----------
    .. [1] Z. Lian et al. (2024). MER 2024: Semi-supervised learning, noise robustness,
       and open-vocabulary multimodal emotion recognition. arXiv:2404.17113.
    """
    root = check_root(root, "label-disdim.csv and the folder video-labeled of MER2024")
    folders = ["video-unlabeled-with-test2noise", "video-unlabeled"]
    labels, where = labelled_and_others(
        root, "label-disdim.csv", "candidate_20000.csv", folders, unlabelled
    )
    return make_bunch(
        "MER2024",
        root,
        labels,
        where,
        ["video-labeled", *(folders if unlabelled else [])] if video else None,
        ["transcription-merge.csv", "label-transcription.csv"],
        {"language": language, "transcripts": transcripts, "on_error": on_error},
    )


@validate_params(_LATER, prefer_skip_nested_validation=True)
def load_mer2025(
    root,
    *,
    unlabelled=None,
    language="chinese",
    transcripts=None,
    video=True,
    on_error="raise",
):
    """Load MER2025 (track 1, SEMI) from its released files.

    7,369 labelled clips of Chinese films and series with one of six emotions, among
    132,171 in all, of which 20,000 are candidates to be predicted [1]_::

        mer2025-dataset/
            track1_train_disdim.csv     track_all_candidates.csv
            subtitle_chieng.csv
            video/
                samplenew3_00000000.mp4 ...

    Tables are found up to three folders below ``root``.

    Parameters
    ----------
    root : str or PathLike
        Folder of the data set.
    unlabelled : {"all", "candidates"}, default=None
        Which unlabelled clips to load too, after the labelled ones; None: none.
        ``"candidates"`` are those that ``track_all_candidates.csv`` lists.
    language : {"chinese", "english"}, default="chinese"
        Column of the transcripts to take.
    transcripts : str or PathLike, default=None
        CSV file with the columns ``name``, ``chinese`` and ``english``. None:
        ``subtitle_chieng.csv``, or ``track1_subtitle_chieng.csv`` of the MERTools
        toolkit; clips have no words where neither is there.
    video : bool, default=True
        Look for the video files. False is for labels, words and features.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of listed clips without a video file: an error, or a clip without
        video and sound and one warning.

    Returns
    -------
    clips : :class:`~sklearn.utils.Bunch`
        As :func:`load_mer2023` returns it, with ``parts`` ``"train"`` and
        ``"unlabelled"``, and without folds: the challenge sets none.

    Raises
    ------
    DataFileError
        If files are missing or hold something else.

    Warns
    -----
    ExtractionWarning
        If clips have no video file and ``on_error="nan"``.

    See Also
    --------
    to_submission : Writes predictions of the candidates.

    References
    ----------
    .. [1] Z. Lian et al. (2025). MER 2025: When affective computing meets large
       language models. arXiv:2504.19423.
    """
    root = check_root(root, "track1_train_disdim.csv and the folder video of MER2025")
    labels, where = labelled_and_others(
        root,
        "track1_train_disdim.csv",
        "track_all_candidates.csv",
        ["video"],
        unlabelled,
    )
    return make_bunch(
        "MER2025",
        root,
        labels,
        where,
        ["video"] if video else None,
        ["subtitle_chieng.csv", "track1_subtitle_chieng.csv"],
        {"language": language, "transcripts": transcripts, "on_error": on_error},
    )
