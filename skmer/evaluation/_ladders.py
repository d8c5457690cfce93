"""The rows of the papers' ablation tables."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from skmer.evaluation._ladder_builds import (
    acoustic_visual,
    ecmf,
    foal_net,
    mertools,
    mmef_net,
    mr_ccl,
    sampled,
    second_step,
)


@dataclass(frozen=True)
class AblationRow:
    """A row of an ablation table.

    Parameters
    ----------
    name : str
        As the paper's table has it.
    build : callable
        Takes a :class:`~skmer.evaluation._setting.Setting`, returns the unfitted
        pipeline.
    reported : dict of str to float
        The paper's figures, in percent.
    needs : tuple of str, default=()
        What the row cannot do without: ``"annotators"``, ``"unlabelled"``,
        ``"pseudo labels"`` (the same, for a row that leaves out what they are for),
        ``"layers"`` (a speech model whose layers can be chosen), ``"words"`` (a text
        model that can be exchanged), ``"3 rare classes"``, ``"stream X"``, or else a
        text that says what it is.
    more_folds : bool, default=False
        One fold more than the first rows of the table have.
    against : str or None, default=None
        The row that it is compared with; None for the one before.
    """

    name: str
    build: Callable
    reported: Mapping
    needs: tuple = ()
    more_folds: bool = False
    against: str | None = None


@dataclass(frozen=True)
class AblationLadder:
    """An ablation table of a paper.

    Parameters
    ----------
    title : str
        Paper and table.
    recipe : str
        The recipe whose parameters MERTools' protocol searches.
    rows : tuple of AblationRow
        The rows.
    """

    title: str
    recipe: str
    rows: tuple


def _ladder(title, recipe, rows, measures=("validation WAF", "test WAF")):
    made = []
    for name, build, figures, *more in rows:
        known = zip(measures, figures, strict=True)
        reported = {measure: figure for measure, figure in known if figure is not None}
        more = dict(*more)
        # A row that names streams is about all of them
        named = getattr(build, "keywords", {}).get("streams", ())
        streams = (f"stream {stream}" for stream in named)
        more["needs"] = (*streams, *more.get("needs", ()))
        made.append(AblationRow(name, build, reported, **more))
    return AblationLadder(title, recipe, tuple(made))


def _mer2025(build, fourth, fifth, ensemble):
    """Return the rows of MMEF-Net and ECMF, whose tables share most figures."""
    words = {"needs": ("words",)}
    more = {"more_folds": True}
    chat = {"needs": ("annotators",), **more}
    layers = {"needs": ("layers",), **more}
    names = [
        ("baseline", 82.05, 76.80, {}),
        ("+ label refinement", 82.31, 78.67, {}),
        ("+ dual-branch video", 82.80, 78.68, {"needs": ("stream video__frame",)}),
        (fourth, 83.27, 78.84, {}),
        *(fifth(words)),
        ("+ six folds", 83.60, 85.60, more),
        ("+ GPT-4 labels", 84.09, 86.08, chat),
        ("+ GPT-4 keywords", 84.15, 86.49, chat),
        ("+ MLP", 84.29, 86.94, more),
        ("+ selected HuBERT layers", 84.84, 87.14, layers),
        ("+ ensemble", None, ensemble, more),
    ]
    return [
        (name, partial(build, level), (validation, test), more)
        for level, (name, validation, test, more) in enumerate(names)
    ]


def _roberta_then_norm(words):
    return [("+ RoBERTa", 83.50, 85.30, words), ("+ normalisation", 83.20, 84.40, {})]


def _norm_then_roberta(words):
    return [("+ normalisation", 83.20, 84.40, {}), ("+ RoBERTa", 83.50, 85.30, words)]


def _zhao(streams, adapt, align, **more):
    return partial(acoustic_visual, streams=streams, adapt=adapt, align=align, **more)


def _of(name, *needs):
    return {"against": name, "needs": needs}


def _other_faces(name):
    return {"needs": (f"features of {name}: encoders={{'video': ...}}",)}


_A, _V, _AV, _AT = ("audio",), ("video",), ("audio", "video"), ("audio", "text")
_AVT = ("audio", "video", "text")
_FT = "HLFT(16-21)"
_OURS = _of("MR-CCL")
_SAMPLED = _of("730/616/190", "3 rare classes")
_UNLABELLED = {"needs": ("unlabelled",)}
_PSEUDO = {"needs": ("pseudo labels",)}

LADDERS = {
    "mmef-net": _ladder(
        "MMEF-Net, Table I",
        "mmef-net",
        _mer2025(mmef_net, "+ projection head", _roberta_then_norm, 87.52),
    ),
    "ecmf": _ladder(
        "ECMF, Table 1",
        "ecmf",
        _mer2025(ecmf, "+ modal tokens", _norm_then_roberta, 87.49),
    ),
    "acoustic-visual": _ladder(
        "Zhao et al., Table 2",
        "acoustic-visual",
        [
            ("HL", _zhao(_A, False, False, layers="mertools"), (72.82, 83.49)),
            (
                "HL(18)",
                _zhao(_A, False, False, layers=18),
                (74.40, 84.78),
                _of("HL", "layers"),
            ),
            (
                "HL(16-21)",
                _zhao(_A, False, False),
                (73.98, 84.79),
                _of("HL", "layers"),
            ),
            (
                "HLFT(18)",
                _zhao(_A, True, False, layers=(18,)),
                (76.30, 84.69),
                _of("HL(18)", "layers"),
            ),
            (_FT, _zhao(_A, True, False), (80.24, 84.88), _of("HL")),
            (
                "CLIPL",
                _zhao(_V, True, False),
                (66.22, 60.95),
                _of("HL"),
            ),
            (
                "CLIPL-A",
                _zhao(_AV, True, True, only=_V),
                (66.05, 64.59),
                _of("CLIPL"),
            ),
            (
                f"{_FT} + CLIPL",
                _zhao(_AV, True, False),
                (84.34, 86.78),
                _of(_FT),
            ),
            (
                f"{_FT} + CLIPL-A",
                _zhao(_AV, True, True),
                (84.70, 87.01),
                _of(f"{_FT} + CLIPL"),
            ),
            (
                f"{_FT} + Baichuan2",
                _zhao(_AT, True, False),
                (79.66, 85.78),
                _of(_FT),
            ),
            (
                f"{_FT} + CLIPL-A + Baichuan2",
                _zhao(_AVT, True, True),
                (83.85, 88.90),
                _of(f"{_FT} + CLIPL-A"),
            ),
        ],
    ),
    "foal-net": _ladder(
        "Foal-Net, Table 2",
        "foal-net",
        [
            (
                "EmoNet",
                partial(foal_net, streams=_V),
                (37.22, 36.50),
                _other_faces("EmoNet"),
            ),
            (
                "SENet",
                partial(foal_net, streams=_V),
                (36.18, 35.53),
                _other_faces("SENet"),
            ),
            (
                "ResNet",
                partial(foal_net, streams=_V),
                (40.74, 40.16),
                _other_faces("ResNet"),
            ),
            ("CLIP", partial(foal_net, streams=_V), (47.90, 46.61)),
            ("WavLM", partial(foal_net, streams=_A), (77.68, 77.25)),
            ("baseline", partial(foal_net, streams=_AV), (77.85, 77.31)),
            (
                "baseline + AVEL",
                partial(foal_net, streams=_AV, align=True),
                (79.31, 78.20),
                _of("baseline"),
            ),
            (
                "baseline + MEM",
                partial(foal_net, streams=_AV, match=True),
                (78.10, 76.94),
                _of("baseline"),
            ),
            (
                "baseline + AVEL + MEM",
                partial(foal_net, streams=_AV, align=True, match=True),
                (80.10, 79.45),
                _of("baseline"),
            ),
        ],
        measures=("UA", "WA"),
    ),
    "mr-ccl": _ladder(
        "MR-CCL, Table 1",
        "mr-ccl",
        [
            ("baseline", mertools, (79.31, 86.73)),
            ("MR-CCL", mr_ccl, (86.53, 88.25)),
            (
                "w/o contrastive pre-training",
                partial(mr_ccl, pretrain=False),
                (85.72, 85.86),
                _OURS,
            ),
            ("w/o NEE", partial(mr_ccl, noise=False), (86.02, 87.64), _OURS),
            (
                "w/o pseudo labels",
                partial(mr_ccl, self_training=False),
                (80.40, 86.35),
                _OURS | _PSEUDO,
            ),
            (
                "w/o oversampling",
                partial(mr_ccl, oversample=False),
                (85.17, 86.07),
                _OURS,
            ),
        ],
    ),
    "mr-ccl-oversampling": _ladder(
        "MR-CCL, Table 3 (sad/worried/surprise are the three rarest classes)",
        "mertools-attention",
        [
            ("730/616/190", mertools, (79.31, 86.73)),
            ("850/850/850", sampled(850, 850, 850), (83.03, 88.05), _SAMPLED),
            ("900/900/900", sampled(900, 900, 900), (81.50, 86.57), _SAMPLED),
            ("800/800/800", sampled(800, 800, 800), (82.14, 87.47), _SAMPLED),
            ("850/616/190", sampled(850, None, None), (80.18, 86.20), _SAMPLED),
            ("730/850/190", sampled(None, 850, None), (79.84, 85.36), _SAMPLED),
            ("730/616/850", sampled(None, None, 850), (81.38, 86.11), _SAMPLED),
        ],
    ),
    "mr-ccl-learning-rate": _ladder(
        "MR-CCL, Table 4",
        "mr-ccl",
        [
            ("unchanged", partial(second_step, 1e-3), (85.42, 87.33), _UNLABELLED),
            ("halved", partial(second_step, 5e-4), (86.53, 88.25), _UNLABELLED),
        ],
    ),
}


def check_name(name):
    """Refuse a name of no table.

    Parameters
    ----------
    name : str
        What was asked for.

    Raises
    ------
    ValueError
        With the tables that there are, and which may be meant.
    """
    if name in LADDERS:
        return
    told = name.strip().lower().replace("_", "-")
    known = ", ".join(map(repr, LADDERS))
    if told == "mertools-attention":
        raise ValueError(
            f"{name!r} has no table, as it is the baseline of the others. Tables are "
            f"{known}."
        )
    close = difflib.get_close_matches(told, list(LADDERS), n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"There is no table {name!r}, only {known}.{meant}")
