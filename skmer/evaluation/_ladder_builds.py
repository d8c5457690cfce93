"""How the pipelines of the papers' ablation tables are made."""

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


def _attention(setting, streams):
    return AttentionFusionClassifier(
        streams=streams,
        stream_heads=None,
        device=setting.device,
        random_state=setting.random_state,
    )


def _mer2025(setting, recipe, *, views, refine, annotators, words, **options):
    """Make a recipe of MER2025, with or without what both papers add one by one."""
    model = setting.make(
        recipe,
        setting.present(_TWO_VIEWS if views else _ONE_VIEW),
        refine="posterior" if refine else None,
        annotators=setting.annotators if annotators else None,
        **options,
    )
    # None where annotators do not say what they think of a clip
    if annotators and "context" in model.named_steps:
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


def ecmf(level, setting):
    model = _mer2025(
        setting,
        "ecmf",
        refine=level >= 1,
        views=level >= 2,
        annotators=level >= 7,
        words=level >= 8,
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


def mmef_net(level, setting):
    model = _mer2025(
        setting,
        "mmef-net",
        refine=level >= 1,
        views=level >= 2,
        annotators=level >= 7,
        words=level >= 8,
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


def acoustic_visual(setting, streams, *, adapt, align, layers=None, only=None):
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


def foal_net(setting, *, streams, align=False, match=False):
    return setting.make("foal-net", setting.present(streams), align=align, match=match)


def mr_ccl(setting, **options):
    return setting.make(
        "mr-ccl", setting.present(("audio", "video", "text")), **options
    )


def mertools(setting, **wanted):
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


def sampled(third, second, rarest):
    wanted = zip(_ALL_RARE, (third, second, rarest), strict=True)
    return partial(mertools, **{name: n for name, n in wanted if n})


def second_step(lr, setting):
    return mr_ccl(setting).set_params(classify__second_params={"lr": lr})
