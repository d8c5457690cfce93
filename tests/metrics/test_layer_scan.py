"""layer_scan against cross_val_score, passes through the model, and the picture."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    PredefinedSplit,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tiny_image_models import image_model
from tiny_models import N_LAYERS, speech_model
from tiny_text_models import N_LAYERS as N_TEXT_LAYERS
from tiny_text_models import text_model
from torch.nn.modules.module import register_module_forward_hook

import skmer
from skmer.encoders import AcousticEncoder, SpeechEncoder, TextEncoder, VisualEncoder
from skmer.media import write_clip
from skmer.metrics import LayerScanDisplay, layer_scan
from skmer.preprocessing import ModalityImputer

WORDS = "good day bad night what a wonderful hour so sad no yes rain again".split()
TEXTS = [" ".join(WORDS[i : i + 3]) + "!" * (i % 2) for i in range(12)]
LABELS = np.array(["glad", "sad"] * 6)
CLASSIFIER = make_pipeline(StandardScaler(), LogisticRegression())
# Differs from layer to layer where shares of few clips do not.
SCORING = "neg_log_loss"


def _text_encoder(**params):
    return TextEncoder(text_model("bert"), **params)


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noises")
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{i}.wav") for i in range(12)]
    for i, path in enumerate(paths):
        sound = rng.standard_normal(8000 + 400 * i).astype(np.float32) * 0.1
        write_clip(path, audio=sound, rate=16000)
    return paths


@contextmanager
def _items_through(kind):
    """Count the sounds, texts or pictures that go through models of a class."""
    counts = []

    def note(module, args, output):
        if type(module).__name__ == kind:
            counts.append(len(output[0]))

    hook = register_module_forward_hook(note)
    try:
        yield counts
    finally:
        hook.remove()


def _one_by_one(encoder, layers, X, y, cv, estimator=CLASSIFIER, **params):
    return [
        cross_val_score(
            estimator,
            clone(encoder).set_params(layers=layer).transform(X),
            y,
            cv=cv,
            **params,
        )
        for layer in layers
    ]


def _check(scan, expected):
    np.testing.assert_array_equal(scan.scores, expected)
    assert len(np.unique(scan.scores)) == scan.scores.size


@pytest.mark.parametrize("cache", ["default", None])
@pytest.mark.parametrize("pooling", ["mean", "mean_std", 3])
def test_speech_scores_are_those_of_each_layer(noises, pooling, cache):
    encoder = SpeechEncoder(speech_model("hubert-large"), pooling=pooling, cache=cache)
    before = repr(encoder.get_params())
    options = {"cv": 3, "scoring": SCORING}
    with _items_through("HubertModel") as counts:
        scan = layer_scan(encoder, CLASSIFIER, noises, LABELS, **options)
    assert sum(counts) == len(noises)
    assert repr(encoder.get_params()) == before
    assert scan.layers == [1, 2, 3, 4]
    assert scan.scores.shape == (N_LAYERS, 3)
    expected = _one_by_one(encoder, scan.layers, noises, LABELS, **options)
    _check(scan, expected)
    np.testing.assert_allclose(scan.mean, np.mean(expected, axis=1))
    np.testing.assert_allclose(scan.std, np.std(expected, axis=1))


def test_the_input_of_blocks_and_the_last_state_are_layers(noises):
    encoder = SpeechEncoder(speech_model("wavlm-large"), pooling="mean_std")
    layers = [0, 3, "last", np.int64(4)]
    scan = layer_scan(
        encoder, CLASSIFIER, noises, LABELS, layers=layers, scoring=SCORING
    )
    assert scan.layers == layers
    _check(scan, _one_by_one(encoder, layers, noises, LABELS, 5, scoring=SCORING))


def test_a_cached_clip_is_not_encoded_again(noises):
    encoder = SpeechEncoder(speech_model("hubert-large"))
    with _items_through("HubertModel") as counts:
        layer_scan(encoder, CLASSIFIER, noises, LABELS, layers=[1, 2])
        layer_scan(encoder, SVC(), noises, LABELS, layers=[4, "last"])
        encoder.set_params(layers=[2, 3]).transform(noises)
    assert sum(counts) == len(noises)


def test_text_scores_are_those_of_each_layer():
    with _items_through("BertModel") as counts:
        scan = layer_scan(
            _text_encoder(cache=None),
            CLASSIFIER,
            TEXTS,
            LABELS,
            layers=[-1, 2, "last"],
            cv=2,
            scoring=SCORING,
        )
    assert sum(counts) == len(TEXTS)
    assert scan.layers == [N_TEXT_LAYERS, 2, "last"]
    expected = _one_by_one(
        _text_encoder(), [-1, 2, "last"], TEXTS, LABELS, 2, scoring=SCORING
    )
    np.testing.assert_array_equal(scan.scores, expected)
    # In a language model they are one.
    np.testing.assert_array_equal(scan.scores[0], scan.scores[2])


@pytest.mark.parametrize("pooling", ["mean", "mean_std"])
def test_visual_scores_keep_regions_apart(small_clips, pooling):
    encoder = VisualEncoder(image_model("dinov2"), n_frames=2, pooling=pooling)
    faces = make_pipeline(
        # The face alone, by name.
        make_column_transformer(
            (StandardScaler(), make_column_selector("^face__")),
        ),
        LogisticRegression(),
    )
    y = [0, 1] * 3
    for estimator, container in [(CLASSIFIER, "default"), (faces, "pandas")]:
        encoder.set_output(transform=container)
        options = {"cv": 3, "scoring": SCORING}
        scan = layer_scan(encoder, estimator, small_clips.paths, y, **options)
        expected = _one_by_one(
            encoder, scan.layers, small_clips.paths, y, estimator=estimator, **options
        )
        _check(scan, expected)


def test_pictures_go_through_once(small_clips):
    encoder = VisualEncoder(
        image_model("clip"), n_frames=2, regions=["frame"], cache=None
    )
    with _items_through("CLIPVisionModel") as counts:
        scan = layer_scan(encoder, SVC(), small_clips.paths, [0, 1] * 3, cv=3)
    assert sum(counts) == 2 * 6
    assert scan.layers == [1, 2, 3, 4]


def test_random_folds_are_the_same_for_all_layers():
    cv = ShuffleSplit(4, test_size=4)
    scan = layer_scan(_text_encoder(), Ridge(), TEXTS, np.arange(12) / 4, cv=cv)
    assert len(scan.splits) == 4
    expected = _one_by_one(
        _text_encoder(),
        scan.layers,
        TEXTS,
        np.arange(12) / 4,
        scan.splits,
        estimator=Ridge(),
    )
    _check(scan, expected)


@pytest.mark.parametrize("missing", ["none", "nan", "minus one"])
def test_unlabelled_clips_are_neither_encoded_nor_scored(missing):
    labelled = np.arange(12) % 4 != 1
    known = np.array([0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1])
    if missing == "minus one":
        y = np.where(labelled, known, -1)
    else:
        known = np.where(known, "sad", "glad")
        mark = None if missing == "none" else np.nan
        y = [k if is_ else mark for k, is_ in zip(known, labelled, strict=True)]
    rows = np.flatnonzero(labelled)
    groups = np.arange(12) // 3
    options = {"cv": GroupKFold(3), "scoring": SCORING}
    with _items_through("BertModel") as counts:
        scan = layer_scan(
            _text_encoder(), CLASSIFIER, TEXTS, y, groups=groups, **options
        )
    assert sum(counts) == len(rows)
    expected = _one_by_one(
        _text_encoder(),
        scan.layers,
        [TEXTS[i] for i in rows],
        known[rows],
        groups=groups[rows],
        **options,
    )
    _check(scan, expected)
    for train, test in scan.splits:
        assert set(train) | set(test) == set(rows)
        assert not set(groups[train]) & set(groups[test])
    # Rows of X, so that the splits can be used again.
    options["cv"] = scan.splits
    again = layer_scan(_text_encoder(), CLASSIFIER, TEXTS, y, **options)
    np.testing.assert_array_equal(again.scores, scan.scores)


def test_given_splits_count_all_rows():
    y = LABELS.astype(object)
    y[[0, 5]] = None
    fold_of = np.arange(12) // 6
    scan = layer_scan(
        _text_encoder(), CLASSIFIER, TEXTS, y, cv=PredefinedSplit(fold_of)
    )
    np.testing.assert_array_equal(scan.splits[0][1], [1, 2, 3, 4])
    np.testing.assert_array_equal(scan.splits[1][0], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="Fold 0 of cv has 10 labelled clips to train"):
        layer_scan(_text_encoder(), CLASSIFIER, TEXTS, y, cv=[(np.arange(12), [0, 5])])


def test_regressors_and_frames():
    frame = pd.DataFrame({"text": TEXTS}, index=[f"c{i}" for i in range(12)])
    valence = np.linspace(-1, 1, 12)
    valence[3] = np.nan
    options = {"cv": 3, "scoring": "neg_mean_absolute_error"}
    encoder = _text_encoder(pooling="mean_std")
    scan = layer_scan(encoder, Ridge(), frame, valence, **options)
    known = ~np.isnan(valence)
    expected = _one_by_one(
        encoder,
        scan.layers,
        frame[known],
        valence[known],
        estimator=Ridge(),
        **options,
    )
    _check(scan, expected)


def test_workers_change_nothing(warm_workers):
    options = {"cv": 3, "scoring": SCORING}
    alone = layer_scan(_text_encoder(), CLASSIFIER, TEXTS, LABELS, **options)
    spread = layer_scan(_text_encoder(), CLASSIFIER, TEXTS, LABELS, **options, n_jobs=2)
    _check(alone, spread.scores)


def test_clips_without_the_modality_need_an_imputer():
    texts = [None, *TEXTS[1:]]
    filled = make_pipeline(ModalityImputer(), StandardScaler(), LogisticRegression())
    scan = layer_scan(_text_encoder(), filled, texts, LABELS, cv=2)
    assert np.isfinite(scan.scores).all()
    with pytest.raises(ValueError, match="NaN"):
        layer_scan(_text_encoder(), SVC(), texts, LABELS, cv=2, error_score="raise")


class _Demanding(LogisticRegression):
    """Fails on few clips."""

    def fit(self, X, y):
        if len(X) == 4:
            raise RuntimeError("too few clips")
        return super().fit(X, y)


def test_failed_fits_score_what_error_score_says():
    cv = [(range(4), range(4, 8)), (range(4, 12), range(4))]
    with pytest.warns(FitFailedWarning, match="too few clips"):
        scan = layer_scan(_text_encoder(), _Demanding(), TEXTS, LABELS, cv=cv)
    assert np.isnan(scan.scores[:, 0]).all() and np.isnan(scan.mean).all()
    assert np.isfinite(scan.scores[:, 1]).all()
    with pytest.warns(FitFailedWarning):
        scan = layer_scan(
            _text_encoder(), _Demanding(), TEXTS, LABELS, cv=cv, error_score=0
        )
    assert (scan.scores[:, 0] == 0).all()
    with pytest.raises(RuntimeError, match="too few clips"):
        layer_scan(
            _text_encoder(), _Demanding(), TEXTS, LABELS, cv=cv, error_score="raise"
        )


@pytest.mark.parametrize(
    "encoder",
    [
        TextEncoder(),
        VisualEncoder(),
        SpeechEncoder(speech_model("hubert-large"), preset="mertools"),
        SpeechEncoder(speech_model("hubert-large"), pooling=None),
    ],
)
def test_features_that_are_not_of_layers_are_refused(encoder):
    with pytest.raises(ValueError, match="do not depend on its parameter layers"):
        layer_scan(encoder, CLASSIFIER, TEXTS, LABELS)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"encoder": AcousticEncoder()}, TypeError, "has no parameter layers"),
        ({"y": [None] * 12}, ValueError, "None of the 12 clips has a label"),
        ({"y": LABELS[:3]}, ValueError, "inconsistent numbers"),
        ({"layers": [N_TEXT_LAYERS, -1]}, ValueError, "none twice"),
        ({"layers": N_TEXT_LAYERS + 1}, ValueError, "last block of this model"),
        ({"layers": "embedding"}, ValueError, "'layers' parameter of layer_scan"),
        ({"scoring": "joy"}, ValueError, "'scoring' parameter of layer_scan"),
        ({"cv": GroupKFold(2)}, ValueError, "groups"),
    ],
)
def test_what_is_wrong_shows_before_encoding(params, error, match):
    given = {"encoder": _text_encoder(), "X": TEXTS, "y": LABELS, **params}
    with _items_through("BertModel") as counts, pytest.raises(error, match=match):
        layer_scan(estimator=CLASSIFIER, **given)
    assert not counts


def test_a_cache_that_is_off_by_settings_is_not_missed():
    texts, labels = pd.Series(TEXTS), pd.Series(LABELS)
    with (
        skmer.config_context(cache_dir=None),
        _items_through("BertModel") as counts,
    ):
        scan = layer_scan(_text_encoder(), CLASSIFIER, texts, labels, layers=3)
    assert sum(counts) == 12
    assert scan.layers == [3] and scan.scores.shape == (1, 5)


def test_display_of_an_estimator(pyplot):
    options = {"layers": [4, 2, "last"], "cv": 3, "scoring": "f1_weighted"}
    scan = layer_scan(_text_encoder(), CLASSIFIER, TEXTS, LABELS, **options)
    display = LayerScanDisplay.from_estimator(
        _text_encoder(),
        CLASSIFIER,
        TEXTS,
        LABELS,
        **options,
        errorbar_kw={"label": "mine"},
    )
    try:
        np.testing.assert_array_equal(display.scores, scan.scores)
        line, _, bars = display.errorbar_
        np.testing.assert_array_equal(line.get_xdata(), [2, 4, 5])
        np.testing.assert_array_equal(line.get_ydata(), scan.mean[[1, 0, 2]])
        lengths = [top - low for (_, low), (_, top) in bars[0].get_segments()]
        np.testing.assert_allclose(lengths, 2 * scan.std[[1, 0, 2]])
        labels = [text.get_text() for text in display.ax_.get_xticklabels()]
        assert labels == ["2", "4", "last"]
        assert display.ax_.get_ylabel().startswith("f1 weighted (mean")
        assert display.errorbar_.get_label() == "mine"
        assert display.figure_ is display.ax_.figure
        _, axes = pyplot.subplots()
        assert display.plot(ax=axes, score_name="WAF").ax_ is axes
        assert axes.get_ylabel().startswith("WAF")
    finally:
        pyplot.close("all")


def test_errors_are_drawn_as_such(pyplot):
    display = LayerScanDisplay.from_estimator(
        _text_encoder(),
        Ridge(),
        TEXTS,
        np.linspace(0, 1, 12),
        cv=2,
        scoring="neg_mean_squared_error",
        negate_score=True,
    )
    try:
        drawn = display.errorbar_[0].get_ydata()
        np.testing.assert_allclose(drawn, -display.scores.mean(axis=1))
        assert display.ax_.get_ylabel().startswith("mean squared error")
    finally:
        pyplot.close("all")


def test_deep_models_keep_ticks_apart(pyplot):
    display = LayerScanDisplay(range(1, 41), np.ones((40, 2))).plot()
    try:
        assert 12 < len(display.ax_.get_xticks()) <= 24
        assert len(display.errorbar_[0].get_xdata()) == 40
    finally:
        pyplot.close("all")


def test_display_checks_shapes_and_needs_no_drawing():
    with pytest.raises(ValueError, match=r"3 layers .* shape \(2, 2\)"):
        LayerScanDisplay([1, 2, 3], np.ones((2, 2)))
    display = LayerScanDisplay.from_estimator(
        _text_encoder(), CLASSIFIER, TEXTS, LABELS, layers=1, cv=2, plot=False
    )
    assert display.score_name == "score"
    assert not hasattr(display, "ax_")
