"""The rows of the papers' ablation tables, each as a pipeline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from imblearn.over_sampling import RandomOverSampler

from skmer.fusion import AttentionFusionClassifier, DynamicWeightingFusionClassifier
from skmer.over_sampling import LabeledSampler, at_least

_ONE_VIEW = ("audio", "video__face", "text")
_TWO_VIEWS = ("audio", "video__face", "video__frame", "text")
_MODEL = {
    "hubert": "TencentGameMate/chinese-hubert-large",
    "roberta": "hfl/chinese-roberta-wwm-ext-large",
    "smaller roberta": "hfl/chinese-roberta-wwm-ext",
}
# Sizes of MER2024's classes that MR-CCL over-samples, and of its largest class
_LARGEST = 1248
_ALL_RARE = ("third rarest", "second rarest", "rarest")


@dataclass(frozen=True)
class AblationRow:
    """A row of an ablation table.

    Parameters
    ----------
    name : str
        As the paper's table has it.
    build : callable
        Takes a setting (:class:`skmer.evaluation._setting.Setting`), returns the
        unfitted pipeline.
    reported : dict of str to float
        The paper's figures, in percent.
    needs : tuple of str
        What the row cannot do without: ``"annotators"``, ``"unlabelled"``,
        ``"layers"`` (a speech model whose layers can be chosen), ``"words"`` (a text
        model that can be exchanged), a stream, ``"3 rare classes"``, or a text that
        says what it is.
    more_folds : bool, default=False
        One fold more than the table's other rows have.
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
        The recipe whose parameters are searched by MERTools' protocol.
    rows : tuple of AblationRow
        The rows.
    measures : tuple of str
        What the paper's figures are, in the order of the columns.
    """

    title: str
    recipe: str
    rows: tuple
    measures: tuple = field(default=("validation WAF", "test WAF"))


def _attention(setting, streams):
    return AttentionFusionClassifier(
        streams=streams,
        stream_heads=None,
        device=setting.device,
        random_state=setting.random_state,
    )


def _mer2025(setting, recipe, *, views, refine, annotators, words, layers, **options):
    """Make a recipe of MER2025, with or without what both papers add one by one."""
    model = setting.make(
        recipe,
        setting.present(_TWO_VIEWS if views else _ONE_VIEW),
        refine="posterior" if refine else None,
        annotators=setting.annotators if annotators else None,
        **options,
    )
    if annotators and setting.annotators:
        names = [getattr(a, "name", None) for a in setting.annotators]
        fields = [f"{name}__label" for name in names if name is not None]
        model.set_params(context__fields=None if words else ["text", *fields])
    return model


def _exchange(setting, model, *, roberta, layers):
    """Go back to the features that come before better ones in the tables."""
    params = model.get_params(deep=True)
    if not roberta and params.get("encode__text__model") == _MODEL["roberta"]:
        model.set_params(encode__text__model=_MODEL["smaller roberta"])
    if not layers and params.get("encode__audio__model") == _MODEL["hubert"]:
        model.set_params(
            encode__audio__preset="mertools",
            encode__audio__layers="last",
            encode__audio__layer_pooling="mean",
        )
    return model


def _ecmf(level, setting):
    model = _mer2025(
        setting,
        "ecmf",
        refine=level >= 1,
        views=level >= 2,
        annotators=level >= 7,
        words=level >= 8,
        layers=level >= 10,
        ensemble=level >= 11,
    )
    streams = setting.present(_TWO_VIEWS if level >= 2 else _ONE_VIEW)
    if level < 3:
        model.set_params(fuse=_attention(setting, streams))
    elif level < 9:
        model.set_params(fuse__estimator__stream_heads=None)
    if level < 4:
        model.set_params(scale="passthrough")
    return _exchange(setting, model, roberta=level >= 5, layers=level >= 10)


def _mmef_net(level, setting):
    model = _mer2025(
        setting,
        "mmef-net",
        refine=level >= 1,
        views=level >= 2,
        annotators=level >= 7,
        words=level >= 8,
        layers=level >= 10,
    )
    streams = setting.present(_TWO_VIEWS if level >= 2 else _ONE_VIEW)
    if level < 9:
        last = _attention(setting, streams)
        if level >= 3:
            last = DynamicWeightingFusionClassifier(
                streams=streams,
                stream_heads=None,
                device=setting.device,
                random_state=setting.random_state,
            )
        steps = ("fuse", "select", "project", "standardize")
        model.set_params(**dict.fromkeys(steps, "passthrough"), vote=last)
    elif level < 11:
        model.set_params(
            vote__kernels=("rbf",), vote__n_seeds=1, vote__max_features=1.0
        )
    if level < 5:
        model.set_params(scale="passthrough")
    return _exchange(setting, model, roberta=level >= 4, layers=level >= 10)


def _acoustic_visual(setting, streams, *, adapt, align, layers=None, only=None):
    model = setting.make(
        "acoustic-visual", setting.present(streams), adapt=adapt, align=align
    )
    if "encode__audio__layers" in model.get_params(deep=True):
        if layers == "mertools":
            model.set_params(
                encode__audio__preset="mertools", encode__audio__layers="last"
            )
        elif layers is not None:
            model.set_params(encode__audio__layers=layers)
    if only is not None:
        model.set_params(fuse__streams=setting.present(only))
    return model


def _foal_net(setting, streams=("audio", "video"), *, align=False, match=False):
    return setting.make("foal-net", setting.present(streams), align=align, match=match)


def _mr_ccl(setting, **options):
    return setting.make(
        "mr-ccl", setting.present(("audio", "video", "text")), **options
    )


def _mertools(setting, **wanted):
    model = setting.make(
        "mertools-attention", setting.present(("audio", "video", "text"))
    )
    rare = setting.rare_classes
    shares = {rare[name]: n / _LARGEST for name, n in wanted.items() if name in rare}
    if shares:
        sampler = RandomOverSampler(
            sampling_strategy=at_least(shares), random_state=setting.random_state
        )
        model.steps.insert(-1, ("sample", LabeledSampler(sampler)))
    return model


def _sampled(third, second, rarest):
    wanted = zip(_ALL_RARE, (third, second, rarest), strict=True)
    return partial(_mertools, **{name: n for name, n in wanted if n})


def _second_step(lr, setting):
    return _mr_ccl(setting).set_params(classify__second_params={"lr": lr})


def _row(name, build, first=None, second=None, **more):
    return AblationRow(name, build, (first, second), **more)


def _with_measures(ladder):
    rows = tuple(
        AblationRow(
            row.name,
            row.build,
            {
                measure: figure
                for measure, figure in zip(ladder.measures, row.reported, strict=True)
                if figure is not None
            },
            row.needs,
            row.more_folds,
            row.against,
        )
        for row in ladder.rows
    )
    return AblationLadder(ladder.title, ladder.recipe, rows, ladder.measures)


_FRAME = ("video__frame",)
_CHAT = ("annotators",)
_LAYERS = ("layers",)
_AV = ("audio", "video")
_AVT = ("audio", "video", "text")
_ZHAO = _acoustic_visual
_OURS = "MR-CCL"


def _faces_only(name):
    return f"features of {name}, as encoders={{'video': PrecomputedEncoder(...)}}"


_LADDERS = {
    "mmef-net": AblationLadder(
        "MMEF-Net, Table I",
        "mmef-net",
        (
            _row("baseline", partial(_mmef_net, 0), 82.05, 76.80),
            _row("+ label refinement", partial(_mmef_net, 1), 82.31, 78.67),
            _row(
                "+ dual-branch video", partial(_mmef_net, 2), 82.80, 78.68, needs=_FRAME
            ),
            _row("+ projection head", partial(_mmef_net, 3), 83.27, 78.84),
            _row("+ RoBERTa", partial(_mmef_net, 4), 83.50, 85.30, needs=("words",)),
            _row("+ normalisation", partial(_mmef_net, 5), 83.20, 84.40),
            _row("+ six folds", partial(_mmef_net, 6), 83.60, 85.60, more_folds=True),
            _row(
                "+ GPT-4 labels", partial(_mmef_net, 7), 84.09, 86.08, needs=_CHAT,
                more_folds=True,
            ),
            _row(
                "+ GPT-4 keywords", partial(_mmef_net, 8), 84.15, 86.49, needs=_CHAT,
                more_folds=True,
            ),
            _row("+ MLP", partial(_mmef_net, 9), 84.29, 86.94, more_folds=True),
            _row(
                "+ selected HuBERT layers", partial(_mmef_net, 10), 84.84, 87.14,
                needs=_LAYERS, more_folds=True,
            ),
            _row("+ ensemble", partial(_mmef_net, 11), None, 87.52, more_folds=True),
        ),
    ),
    "ecmf": AblationLadder(
        "ECMF, Table 1",
        "ecmf",
        (
            _row("baseline", partial(_ecmf, 0), 82.05, 76.80),
            _row("+ multi-source labels", partial(_ecmf, 1), 82.31, 78.67),
            _row("+ dual-branch video", partial(_ecmf, 2), 82.80, 78.68, needs=_FRAME),
            _row("+ modal tokens", partial(_ecmf, 3), 83.27, 78.84),
            _row("+ norm", partial(_ecmf, 4), 83.20, 84.40),
            _row("+ RoBERTa", partial(_ecmf, 5), 83.50, 85.30, needs=("words",)),
            _row("+ six folds", partial(_ecmf, 6), 83.60, 85.60, more_folds=True),
            _row(
                "+ GPT-4 label", partial(_ecmf, 7), 84.09, 86.08, needs=_CHAT,
                more_folds=True,
            ),
            _row(
                "+ GPT-4 keywords", partial(_ecmf, 8), 84.15, 86.49, needs=_CHAT,
                more_folds=True,
            ),
            _row("+ MLP", partial(_ecmf, 9), 84.29, 86.94, more_folds=True),
            _row(
                "+ selected HuBERT layers", partial(_ecmf, 10), 84.84, 87.14,
                needs=_LAYERS, more_folds=True,
            ),
            _row("+ ensemble", partial(_ecmf, 11), None, 87.49, more_folds=True),
        ),
    ),
    "acoustic-visual": AblationLadder(
        "Zhao et al., Table 2",
        "acoustic-visual",
        (
            _row(
                "HL",
                partial(
                    _ZHAO, streams="audio", adapt=False, align=False, layers="mertools"
                ),
                72.82,
                83.49,
            ),
            _row(
                "HL(18)",
                partial(_ZHAO, streams="audio", adapt=False, align=False, layers=18),
                74.40, 84.78, needs=_LAYERS, against="HL",
            ),
            _row(
                "HL(16-21)",
                partial(_ZHAO, streams="audio", adapt=False, align=False),
                73.98, 84.79, needs=_LAYERS, against="HL",
            ),
            _row(
                "HLFT(18)",
                partial(_ZHAO, streams="audio", adapt=True, align=False, layers=(18,)),
                76.30, 84.69, needs=_LAYERS, against="HL(18)",
            ),
            _row(
                "HLFT(16-21)",
                partial(_ZHAO, streams="audio", adapt=True, align=False),
                80.24, 84.88, against="HL",
            ),
            _row(
                "CLIPL",
                partial(_ZHAO, streams="video", adapt=True, align=False),
                66.22, 60.95, needs=("video",), against="HL",
            ),
            _row(
                "CLIPL-A",
                partial(_ZHAO, streams=_AV, adapt=True, align=True, only="video"),
                66.05, 64.59, needs=("video",), against="CLIPL",
            ),
            _row(
                "HLFT(16-21) + CLIPL",
                partial(_ZHAO, streams=_AV, adapt=True, align=False),
                84.34, 86.78, needs=("video",), against="HLFT(16-21)",
            ),
            _row(
                "HLFT(16-21) + CLIPL-A",
                partial(_ZHAO, streams=_AV, adapt=True, align=True),
                84.70, 87.01, needs=("video",), against="HLFT(16-21) + CLIPL",
            ),
            _row(
                "HLFT(16-21) + Baichuan2",
                partial(_ZHAO, streams=("audio", "text"), adapt=True, align=False),
                79.66, 85.78, needs=("text",), against="HLFT(16-21)",
            ),
            _row(
                "HLFT(16-21) + CLIPL-A + Baichuan2",
                partial(_ZHAO, streams=_AVT, adapt=True, align=True),
                83.85, 88.90, needs=("video", "text"), against="HLFT(16-21) + CLIPL-A",
            ),
        ),
    ),
    "foal-net": AblationLadder(
        "Foal-Net, Table 2",
        "foal-net",
        (
            _row(
                "EmoNet", partial(_foal_net, streams="video"), 37.22, 36.50,
                needs=(_faces_only("EmoNet"),),
            ),
            _row(
                "SENet-FER2013", partial(_foal_net, streams="video"), 36.18, 35.53,
                needs=(_faces_only("SENet-FER2013"),),
            ),
            _row(
                "ResNet-FER2013", partial(_foal_net, streams="video"), 40.74, 40.16,
                needs=(_faces_only("ResNet-FER2013"),),
            ),
            _row("CLIP", partial(_foal_net, streams="video"), 47.90, 46.61),
            _row("WavLM", partial(_foal_net, streams="audio"), 77.68, 77.25),
            _row("baseline", _foal_net, 77.85, 77.31),
            _row(
                "baseline + AVEL", partial(_foal_net, align=True), 79.31, 78.20,
                against="baseline",
            ),
            _row(
                "baseline + MEM", partial(_foal_net, match=True), 78.10, 76.94,
                against="baseline",
            ),
            _row(
                "baseline + AVEL + MEM", partial(_foal_net, align=True, match=True),
                80.10, 79.45, against="baseline",
            ),
        ),
        ("UA", "WA"),
    ),
    "mr-ccl": AblationLadder(
        "MR-CCL, Table 1",
        "mr-ccl",
        (
            _row("baseline", _mertools, 79.31, 86.73),
            _row(_OURS, _mr_ccl, 86.53, 88.25),
            _row(
                "w/o contrastive pre-training", partial(_mr_ccl, pretrain=False),
                85.72, 85.86, against=_OURS,
            ),
            _row(
                "w/o NEE", partial(_mr_ccl, noise=False), 86.02, 87.64, against=_OURS
            ),
            _row(
                "w/o pseudo labels", partial(_mr_ccl, self_training=False),
                80.40, 86.35, needs=("unlabelled",), against=_OURS,
            ),
            _row(
                "w/o oversampling", partial(_mr_ccl, oversample=False), 85.17, 86.07,
                against=_OURS,
            ),
        ),
    ),
    "mr-ccl-oversampling": AblationLadder(
        "MR-CCL, Table 3 (sad/worried/surprise: the three rarest classes)",
        "mertools-attention",
        (
            _row("730/616/190", _mertools, 79.31, 86.73),
            *(
                _row(
                    "/".join(str(n or own) for n, own in zip(sizes, own_sizes)),
                    _sampled(*sizes), *figures, needs=("3 rare classes",),
                    against="730/616/190",
                )
                for own_sizes in [(730, 616, 190)]
                for sizes, figures in [
                    ((850, 850, 850), (83.03, 88.05)),
                    ((900, 900, 900), (81.50, 86.57)),
                    ((800, 800, 800), (82.14, 87.47)),
                    ((850, None, None), (80.18, 86.20)),
                    ((None, 850, None), (79.84, 85.36)),
                    ((None, None, 850), (81.38, 86.11)),
                ]
            ),
        ),
    ),
    "mr-ccl-learning-rate": AblationLadder(
        "MR-CCL, Table 4",
        "mr-ccl",
        (
            _row(
                "1e-4 (unchanged)", partial(_second_step, 1e-3), 85.42, 87.33,
                needs=("unlabelled",),
            ),
            _row(
                "5e-5 (reduced)", partial(_second_step, 5e-4), 86.53, 88.25,
                needs=("unlabelled",),
            ),
        ),
    ),
}  # fmt: skip
LADDERS = {name: _with_measures(ladder) for name, ladder in _LADDERS.items()}
