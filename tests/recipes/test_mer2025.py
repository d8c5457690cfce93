"""make_mmef_net and make_ecmf, where they are alike."""

import pickle

import numpy as np
import pandas as pd
import pytest
from leaks import changed_rows, differences
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    cross_val_score,
    cross_validate,
)
from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import text_model

from skmer.clips import ClipTable
from skmer.enrichment import ChatAnnotator, Transcriber
from skmer.exceptions import MissingStreamError
from skmer.recipes import (
    ECMF_PARAM_GRID,
    MMEF_NET_PARAM_GRID,
    make_ecmf,
    make_mmef_net,
)

STREAMS = ("audio", "video__face", "video__frame", "text")
# Enough to learn well-separated classes in no time
QUICK = {
    make_mmef_net: {
        "fuse__cv": 2,
        "fuse__estimator__max_epochs": 8,
        "fuse__estimator__hidden_size": 8,
        "fuse__estimator__lr": 0.02,
        "project__estimator__max_epochs": 8,
        "project__estimator__hidden_sizes": (8,),
        "project__estimator__lr": 0.02,
        "vote__n_seeds": 2,
    },
    make_ecmf: {
        "fuse__estimator__max_epochs": 8,
        "fuse__estimator__hidden_size": 8,
        "fuse__estimator__stream_heads": 8,
        "fuse__variants": [{}, {"drop": "video__frame"}],
        "fuse__estimator__lr": 0.02,
    },
}
GRIDS = {make_mmef_net: MMEF_NET_PARAM_GRID, make_ecmf: ECMF_PARAM_GRID}
both = pytest.mark.parametrize("make", QUICK, ids=lambda make: make.__name__)


def quick(make, **settings):
    model = make(random_state=0, **{"encoders": None, **settings})
    given = model.get_params()
    chosen = {k: v for k, v in QUICK[make].items() if k in given}
    if not settings.get("ensemble", True) or "streams" in settings:
        del chosen["fuse__variants"]
    return model.set_params(**chosen)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    y = np.array(["sad", "glad", "calm"], dtype=object)[np.arange(60) % 3]
    names = [f"{stream}__{i}" for stream in STREAMS for i in range(4)]
    X = rng.normal(size=(60, 16)) + rng.normal(size=(3, 16))[np.arange(60) % 3] * 1.5
    X[3, :4] = np.nan
    X[4, 4:12] = np.nan
    index = [f"clip{i}" for i in range(60)]
    return pd.DataFrame(X, index, names).astype(np.float32), y


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("features"))


@both
def test_every_point_of_the_grid_can_be_set(make):
    model = make()
    points = list(ParameterGrid(GRIDS[make]))
    assert len(points) >= 16
    for point in points:
        changed = clone(model).set_params(**point)
        assert {k: changed.get_params()[k] for k in point} == point


@both
def test_scores_clones_and_missing_streams(make, features):
    X, y = features
    model = quick(make)
    assert clone(model).get_params().keys() == model.get_params().keys()
    assert cross_val_score(model, X, y, cv=2).mean() > 0.8
    hidden = X.iloc[:6].copy()
    hidden.loc[:, [c for c in X if c.startswith(("video", "text"))]] = np.nan
    guess = model.fit(X, y).predict_proba(hidden)
    assert np.isfinite(guess).all()
    with pytest.raises(MissingStreamError, match="text"):
        clone(model).set_params(refine="passthrough").fit(X.iloc[:, :12], y)


@both
def test_pickled_and_fitted_again_it_says_the_same(make, features):
    X, y = features
    model = quick(make).fit(X, y)
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), expected)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), expected)
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    other = clone(model).set_params(fuse__random_state=1).fit(X, y)
    assert (other.predict_proba(X) != expected).any()


@both
def test_global_generators_are_left_alone(make, features):
    X, y = features
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    quick(make).fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@both
def test_rows_without_a_label_are_no_class(make, features):
    X, y = features
    some = y.copy()
    some[::4] = None
    model = quick(make).fit(X, some)
    assert list(model.classes_) == ["calm", "glad", "sad"]
    assert model.score(X[::4], y[::4]) > 0.7
    codes = np.array([{"calm": 0, "glad": 1, "sad": 2}.get(v, -1) for v in some])
    numbered = quick(make).fit(X, codes)
    assert list(numbered.classes_) == [0, 1, 2]
    np.testing.assert_array_equal(numbered.predict_proba(X), model.predict_proba(X))


@both
def test_held_out_rows_change_nothing_that_was_fitted(make, features):
    X, y = features
    train, test = np.arange(45), np.arange(45, 60)

    def fitted(X, y):
        done = cross_validate(
            quick(make), X, y, cv=[(train, test)], return_estimator=True
        )
        return done["estimator"][0]

    one = fitted(X, y)
    assert not differences(one, fitted(*changed_rows(X, y, test)))
    assert differences(one, fitted(*changed_rows(X, y, train[:10])))


@both
def test_a_prediction_depends_on_its_clip_alone(make, features):
    X, y = features
    model = quick(make).fit(X, y)
    expected = model.predict_proba(X)
    one = np.concatenate([model.predict_proba(X.iloc[[i]]) for i in range(8)])
    np.testing.assert_allclose(one, expected[:8], rtol=1e-4, atol=1e-6)


@both
def test_wrong_labels_are_corrected_in_training_only(make, features):
    X, y = features
    wrong = y.copy()
    wrong[[10, 20, 30]] = "sad", "calm", "glad"
    model = quick(make).fit(X, wrong)
    refined = model.named_steps["refine"].labels_
    assert (refined.to_numpy()[[10, 20, 30]] == y[[10, 20, 30]]).sum() >= 2
    assert model.predict(X).shape == y.shape
    assert "refine" not in dict(make(refine=None).steps)
    counted = make(refine="majority").named_steps["refine"]
    assert counted.rule == "majority" and counted.streams == STREAMS


@both
def test_a_search_on_clips(make, small_clips, cache):
    y = np.array(["sad", "glad"] * 3)
    model = quick(make, encoders="offline", sidecar_text=True, cache=cache, refine=None)
    model.set_params(encode__video__n_frames=2, encode__text__n_features=64)
    name, values = next(iter(GRIDS[make].items()))
    split = [(np.arange(4), np.arange(4, 6))]
    search = GridSearchCV(model, {name: values[:2]}, cv=split, error_score="raise")
    search.fit(small_clips.paths, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).sum() == 2
    best = search.best_estimator_
    from_frame = clone(best).fit(small_clips.data, y).predict_proba(small_clips.data)
    np.testing.assert_array_equal(search.predict_proba(small_clips.paths), from_frame)
    frame = best[:2].transform(small_clips.paths)
    assert {column.rpartition("__")[0] for column in frame} == set(STREAMS)


@both
def test_the_models_of_the_paper_made_small(make, small_clips):
    y = np.array(["sad", "glad"] * 3)
    model = quick(make, encoders="paper", cache=None, refine=None, device="cpu")
    audio = model.named_steps["encode"].transformers[0][1]
    assert tuple(audio.layers) == (16, 17, 18, 19, 20, 21)
    model.set_params(
        encode__audio__model=speech_model("hubert-large"),
        encode__audio__layers=[2, 3],
        encode__video__model=image_model("clip"),
        encode__text__model=text_model("bert"),
    )
    model.fit(small_clips.data, y)
    assert model.predict_proba(small_clips.data).shape == (6, 2)
    frame = model[:2].transform(small_clips.data)
    layers = {"audio__layer2", "audio__layer3"}
    seen = {name.rpartition("_")[0] for name in frame if name.startswith("audio")}
    assert seen == (layers if make is make_ecmf else {"audio_"})


@both
def test_annotators_come_before_the_encoders(make):
    chat = ChatAnnotator("some-model", ["glad", "sad"])
    model = make(annotators=[Transcriber("some-ears"), chat])
    names = [name for name, _ in model.steps]
    assert names[:5] == ["clips", "transcriber", "chatannotator", "context", "encode"]
    assert isinstance(model[0], ClipTable) and model[2] is chat


@both
def test_few_clips(make, features):
    X, y = features
    lone = y[:20].copy()
    lone[lone == "calm"] = "sad"
    lone[7] = "calm"
    with pytest.warns(UserWarning, match="calm"):
        model = quick(make).fit(X[:20], lone)
    assert list(model.classes_) == ["calm", "glad", "sad"]
    with pytest.raises(ValueError, match="two folds"):
        quick(make).fit(X[:2], y[:2])
    with pytest.raises(ValueError, match=r"two classes|1 class|one class"):
        quick(make).fit(X[:6], np.array(["sad"] * 6))


@both
@pytest.mark.parametrize("switch", ["variant", "refine"])
def test_unknown_switches(make, switch):
    with pytest.raises(ValueError, match=f"{switch} must be one of.*'loud'"):
        make(**{switch: "loud"})


def test_steps_of_mmef_net():
    names = [name for name, _ in make_mmef_net().steps]
    assert names == [
        "clips",
        "encode",
        "refine",
        "scale",
        "fuse",
        "select",
        "project",
        "standardize",
        "vote",
    ]
    with pytest.raises(ValueError, match="embeddings must be one of"):
        make_mmef_net(embeddings="none")


def test_machines_see_columns_of_the_perceptron(features):
    X, y = features
    model = quick(make_mmef_net).fit(X, y)
    fuse, select, project, vote = (
        model.named_steps[name] for name in ("fuse", "select", "project", "vote")
    )
    assert len(fuse.get_feature_names_out()) == 4 * 8
    assert select.support_.sum() == 16 and project.n_features_in_ == 16
    assert vote.n_features_in_ == 8 and len(vote.members_) == 6


def test_embeddings_of_training_rows_are_those_asked_for(features):
    X, y = features
    held_out = quick(make_mmef_net).fit(X, y)
    in_sample = make_mmef_net(encoders=None, embeddings="paper", random_state=0)
    assert in_sample.named_steps["fuse"].cv is None
    assert in_sample.named_steps["project"].cv is None
    settings = QUICK[make_mmef_net].items()
    in_sample.set_params(**{k: v for k, v in settings if not k.endswith("cv")})
    in_sample.fit(X, y)
    assert (in_sample.predict_proba(X) != held_out.predict_proba(X)).any()


def test_the_letter_of_mmef_net(features):
    X, y = features
    model = make_mmef_net(encoders=None, variant="paper", random_state=0)
    params = model.get_params()
    for net in ("fuse", "project"):
        assert params[f"{net}__estimator__lr"] == 5e-5
        assert params[f"{net}__estimator__max_epochs"] == 200
        assert params[f"{net}__estimator__gradient_clip_norm"] == 1.0
        assert params[f"{net}__estimator__modality_dropout"] == 0.0
    assert params["fuse__estimator__variant"] == "paper"
    assert params["select__score_func"] == "minmax"
    model.set_params(**QUICK[make_mmef_net]).fit(X, y)
    assert not hasattr(model, "predict_proba") and model.score(X, y) > 0.6


def test_variants_of_ecmf():
    variants = make_ecmf().named_steps["fuse"].variants
    assert {} in variants and {"drop": "video__frame"} in variants
    alone = make_ecmf(streams=["audio", "text"]).named_steps["fuse"].variants
    assert all("drop" not in variant for variant in alone)
    assert make_ecmf(ensemble=False).named_steps["fuse"].variants == [{}]
    params = make_ecmf(variant="paper").get_params()
    assert params["fuse__estimator__attention_dropout"] is None
    assert params["fuse__estimator__stream_heads"] is None
    assert params["fuse__estimator__lr"] == 5e-5
    assert params["fuse__voting"] == "hard"
    assert all("stream_heads" not in v for v in params["fuse__variants"])


def test_norm_of_each_split_depends_on_company(features):
    X, y = features
    model = quick(make_ecmf, norm="split", ensemble=False).fit(X, y)
    together = model.predict_proba(X)[:5]
    assert np.abs(model.predict_proba(X.iloc[:5]) - together).max() > 1e-3
    with pytest.raises(ValueError, match="norm must be one of"):
        make_ecmf(norm="test")


def test_layers_of_hubert_become_one_weighted_token():
    rng = np.random.default_rng(0)
    y = np.resize(["sad", "glad"], 40)
    names = [f"audio__layer{layer}_{i}" for layer in (16, 17) for i in range(3)]
    names += [f"text__{i}" for i in range(3)]
    X = pd.DataFrame(rng.normal(size=(40, 9)) + (y == "sad")[:, None], columns=names)
    model = quick(make_ecmf, streams=["audio", "text"], refine=None, ensemble=False)
    model.fit(X, y)
    weights = model[-1].estimators_[0].layer_weights_["audio"]
    assert list(weights.index) == ["layer16", "layer17"]
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
