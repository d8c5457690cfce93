"""Every estimator comes back from its folder as it was."""

import json
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from instances import CLIP_ENCODERS, MADE_UP_ROWS, NUMERIC, SAMPLERS
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from tiny_models import speech_model
from torch import nn

from skmer.clips import ClipTable
from skmer.encoders import (
    AdaptedSpeechEncoder,
    OpenFaceEncoder,
    PrecomputedEncoder,
    SpeechEncoder,
    TextEncoder,
    VisualEncoder,
)
from skmer.enrichment import (
    ChatAnnotator,
    ContextEnricher,
    OmniAnnotator,
    Transcriber,
)
from skmer.ensemble import FoldVotingClassifier
from skmer.exceptions import ModelFormatError
from skmer.fusion import AttentionFusionClassifier, ContrastiveFusionClassifier
from skmer.media import HaarDetector
from skmer.model_selection import ReferenceFolds
from skmer.over_sampling import LabeledSampler, at_least
from skmer.persistence import load_model, save_model
from skmer.preprocessing import GroupStandardScaler
from skmer.recipes import RECIPES, make_mertools_attention
from skmer.semi_supervised import AgreementSelfTrainingClassifier

pytest.importorskip("skops")

METHODS = ("predict", "predict_proba", "decision_function", "transform")
NET = AttentionFusionClassifier(max_epochs=2, hidden_size=8, random_state=0)


def outputs(model, X):
    """Return what a model says of clips, by method, and its names of columns."""
    found = {}
    for name in METHODS:
        if hasattr(model, name):
            found[name] = getattr(model, name)(X)
    if hasattr(model, "get_feature_names_out") and hasattr(model, "transform"):
        found["names"] = np.asarray(model.get_feature_names_out())
    return found


def same(one, other):
    """Tell whether two outputs are equal bit for bit, arrays in cells too."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype != object:
        return one.tobytes() == other.tobytes()
    return all(
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=False)
        if a is not None and b is not None
        else a is b
        for a, b in zip(one.flat, other.flat, strict=True)
    )


def check_round_trip(model, X, folder, **options):
    """Save, load and compare; return the loaded model."""
    folder = save_model(model, folder)
    twin = load_model(folder, **options)
    assert type(twin) is type(model)
    before, after = outputs(model, X), outputs(twin, X)
    assert list(before) == list(after)
    for name, value in before.items():
        assert same(value, after[name]), name
    shown = [re.sub("0x[0-9a-f]+", "", repr(clone(each))) for each in (twin, model)]
    assert shown[0] == shown[1]
    return twin


@pytest.mark.parametrize("estimator", NUMERIC, ids=lambda e: type(e).__name__)
def test_every_estimator_of_numbers(estimator, features, tmp_path):
    X, y = features
    model = clone(estimator).fit(X, y)
    twin = check_round_trip(model, X, tmp_path / "model")
    # and it can be fitted again, as before
    if "random_state" in twin.get_params():
        for each in (model, twin):
            each.set_params(random_state=3).fit(X, y)
        before, after = outputs(model, X), outputs(twin, X)
        assert all(same(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "sampler", SAMPLERS + MADE_UP_ROWS, ids=lambda e: type(e).__name__
)
def test_every_sampler_without_its_rows(sampler, features, tmp_path):
    X, y = features
    X, y = X[:50], y[:50]
    sampler = clone(sampler)
    first = sampler.fit_resample(X, y)
    folder = save_model(sampler, tmp_path / "model")
    twin = load_model(folder)
    again = clone(twin).fit_resample(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert b"clip1" not in (folder / "estimator.skops").read_bytes()


@pytest.fixture(scope="module")
def clips(small_clips):
    """A table of six clips with sound, face and words."""
    return ClipTable(sidecar_text=True).fit_transform(small_clips.paths)


@pytest.mark.parametrize("number", range(len(CLIP_ENCODERS)))
def test_every_encoder_of_clips(number, clips, tmp_path):
    encoder = clone(CLIP_ENCODERS[number]).fit(clips)
    check_round_trip(encoder, clips, tmp_path / "model")


def test_adapters_of_a_speech_model(small_clips, clips, tmp_path):
    encoder = AdaptedSpeechEncoder(
        speech_model("hubert-large"),
        layers=[2, 4],
        adapter_size=4,
        max_epochs=1,
        random_state=0,
    ).fit(clips, np.arange(6) % 2)
    twin = check_round_trip(encoder, clips, tmp_path / "model")
    assert twin.layer_weights_ == encoder.layer_weights_


@pytest.mark.parametrize(
    "estimator",
    [
        ChatAnnotator("some-model", ["happy", "sad"], cache=None),
        ClipTable(sidecar_text=True),
        ContextEnricher(pd.Series({"a": "a smile"}, name="omni__cues")),
        OmniAnnotator("some-model", ["happy", "sad"]),
        OpenFaceEncoder("openface"),
        PrecomputedEncoder("features", pattern="{name}.npy"),
        Transcriber("openai/whisper-tiny"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_learns_nothing(estimator, tmp_path):
    X = pd.DataFrame({"text": ["so glad", None]}, index=["a", "b"])
    twin = load_model(save_model(estimator, tmp_path / "model"))
    assert repr(twin) == repr(estimator)
    if isinstance(estimator, (ClipTable, ContextEnricher)):
        assert twin.fit_transform(X).equals(estimator.fit_transform(X))


def test_a_face_detector_of_ones_own_settings(clips, tmp_path):
    detector = HaarDetector(min_face=0.2)
    encoder = VisualEncoder(face_detector=detector, n_frames=1, cache=None).fit(clips)
    twin = check_round_trip(encoder, clips, tmp_path / "model")
    assert twin.face_detector.min_face == 0.2


def small(model):
    """Return a recipe that is fitted within a second."""
    sizes = {"max_epochs": 1, "pretrain_epochs": 1, "n_seeds": 1, "max_iter": 2}
    params = {
        key: sizes[key.rpartition("__")[2]]
        for key, value in model.get_params().items()
        if key.rpartition("__")[2] in sizes and isinstance(value, int)
    }
    return model.set_params(**params)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe(name, tmp_path):
    recipe = RECIPES[name]
    X, y = recipe_features(recipe.needs)
    model = small(recipe.make(encoders=None, random_state=0))
    if "refine" in model.named_steps:
        # A sampler, which predictions do not meet
        model.set_params(refine="passthrough")
    with warnings.catch_warnings():
        # A few rows and a single epoch make some parts complain.
        warnings.simplefilter("ignore")
        model.fit(X, y)
    check_round_trip(model, X, tmp_path / "model")


def recipe_features(needs, n=36):
    rng = np.random.default_rng(0)
    index = [f"clip{i}" for i in range(n)]
    y = np.array(["angry", "happy", "sad"])[np.arange(n) % 3]
    names = ["audio", "video__face", "video__frame", "text"]
    if needs == "sequences":
        columns = {}
        for name in ("audio", "video__face", "text"):
            cells = np.empty(n, dtype=object)
            for i in range(n):
                cells[i] = rng.normal(size=(2 + i % 3, 4)).astype(np.float32)
            columns[f"{name}__frames"] = cells
        return pd.DataFrame(columns, index=index), y
    columns = [f"{name}__{i}" for name in names for i in range(4)]
    values = rng.normal(size=(n, len(columns))).astype(np.float32)
    return pd.DataFrame(values, columns=columns, index=index), y


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedClassifierCV(make_pipeline(StandardScaler(), NET), cv=2),
        CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
        CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=2),
        VotingClassifier([("net", NET), ("lr", LogisticRegression())], voting="soft"),
        StackingClassifier([("net", NET), ("lr", LogisticRegression())], cv=2),
        BaggingClassifier(NET, n_estimators=2, random_state=0),
        make_pipeline(SelectKBest(f_classif, k=3), PCA(2), SVC()),
        make_pipeline(SimpleImputer(), SVC(probability=True, random_state=0)),
        make_pipeline(MLPClassifier(max_iter=3, early_stopping=True)),
        make_pipeline(
            LabeledSampler(
                RandomOverSampler(sampling_strategy=at_least(0.9), random_state=0)
            ),
            LogisticRegression(),
        ),
        AgreementSelfTrainingClassifier(NET, LogisticRegression()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_tools_of_scikit_learn(estimator, features, tmp_path):
    X, y = features
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = clone(estimator).fit(X, y)
    check_round_trip(model, X, tmp_path / "model")


@pytest.mark.parametrize("scoring", [None, "f1_weighted"])
def test_searches_and_their_best(scoring, features, tmp_path):
    X, y = features
    model = make_pipeline(StandardScaler(), NET)
    grid = {"attentionfusionclassifier__lr": [1e-3, 1e-2]}
    search = GridSearchCV(model, grid, cv=2, scoring=scoring).fit(X, y)
    check_round_trip(search.best_estimator_, X, tmp_path / "best")
    twin = check_round_trip(search, X, tmp_path / "search")
    assert twin.best_params_ == search.best_params_
    assert twin.score(X, y) == search.score(X, y)
    results = search.cv_results_["param_attentionfusionclassifier__lr"]
    assert list(twin.cv_results_["param_attentionfusionclassifier__lr"]) == list(
        results
    )


@pytest.mark.parametrize("labels", ["int", "bool", "object", "str"])
def test_classes_keep_their_type(labels, features, tmp_path):
    X, y = features
    codes = np.arange(60) % 2
    y = {"int": codes + 5, "bool": codes == 1, "object": y.astype(object), "str": y}
    weight = {True: 1.0, False: 2.0} if labels == "bool" else None
    net = clone(NET).set_params(class_weight=weight).fit(X, y[labels])
    twin = check_round_trip(net, X, tmp_path / "model")
    assert twin.class_weight == weight
    assert twin.classes_.dtype == net.classes_.dtype


def test_what_only_fit_needs_is_left_out(features, tmp_path):
    X, y = features
    speakers = pd.Series([f"speaker{i // 6}" for i in range(60)], index=X.index)
    net = clone(NET).set_params(groups=speakers, train_split=0.2, callbacks=[])
    folds = ReferenceFolds(pd.Series(np.arange(60) % 2, index=X.index))
    model = FoldVotingClassifier(net, cv=folds, random_state=0).fit(X, y)
    with pytest.warns(
        UserWarning, match="Left out of .*model.*groups of Attention"
    ) as w:
        folder = save_model(model, tmp_path / "model")
    assert "cv of FoldVotingClassifier" in str(w[0].message)
    assert "callbacks of AttentionFusionClassifier" in str(w[0].message)
    twin = load_model(folder)
    assert twin.estimator.groups is None and twin.cv == FoldVotingClassifier(net).cv
    assert same(twin.predict_proba(X), model.predict_proba(X))
    assert model.estimator.groups is speakers
    data = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"speaker1" not in data and b"clip1" not in data


def test_what_predictions_look_up_stays(features, tmp_path):
    X, y = features
    speakers = pd.Series([f"speaker{i % 6}" for i in range(60)], index=X.index)
    model = GroupStandardScaler(speakers).fit(X)
    twin = check_round_trip(model, X, tmp_path / "model")
    assert twin.groups.equals(speakers)
    new = X[:4].set_axis(["n1", "n2", "n3", "n4"])
    groups = pd.Series("speaker1", index=new.index)
    for each in (model, twin):
        each.set_params(groups=groups)
    assert same(twin.transform(new), model.transform(new))


def test_training_goes_on_with_a_new_optimiser(features, tmp_path):
    X, y = features
    net = clone(NET).fit(X, y)
    twin = load_model(save_model(net, tmp_path / "model"))
    assert twin.score(X, y) == net.score(X, y)
    twin.partial_fit(X, y)
    assert not same(twin.predict_proba(X), net.predict_proba(X))


def test_pretraining_given_as_a_parameter(features, tmp_path):
    X, y = features
    settings = {"hidden_size": 8, "max_epochs": 1, "random_state": 0}
    first = ContrastiveFusionClassifier(pretrain_epochs=1, **settings).pretrain(X)
    net = ContrastiveFusionClassifier(pretrained=first, **settings).fit(X, y)
    twin = load_model(save_model(net, tmp_path / "model"))
    assert same(twin.predict_proba(X), net.predict_proba(X))
    assert same(clone(twin).fit(X, y).predict_proba(X), net.predict_proba(X))


class OwnNet(AttentionFusionClassifier):
    """A classifier of a user's own."""


class Halver(StandardScaler):
    """A transformer of a user's own."""

    def transform(self, X):
        return super().transform(X) / 2


def double(X):
    return X * 2


@pytest.mark.parametrize("given", ["name", "class"])
def test_types_of_ones_own_are_asked_about(given, features, tmp_path):
    X, y = features
    net = OwnNet(max_epochs=1, hidden_size=8, random_state=0)
    model = make_pipeline(Halver(), FunctionTransformer(double), net).fit(X, y)
    folder = save_model(model, tmp_path / "model")
    with pytest.raises(ModelFormatError, match=r"trusted=\['.*double'") as error:
        load_model(folder)
    kinds = [Halver, OwnNet, double]
    names = [f"{kind.__module__}.{kind.__name__}" for kind in kinds]
    assert all(name in str(error.value) for name in names)
    with pytest.raises(ModelFormatError, match="OwnNet"):
        load_model(folder, trusted=[Halver, double])
    trusted = kinds if given == "class" else names
    twin = load_model(folder, trusted=trusted)
    assert same(twin.predict_proba(X), model.predict_proba(X))
    with pytest.raises(TypeError, match="list of names"):
        load_model(folder, trusted=names[0])


def test_trees_are_asked_about(features, tmp_path):
    X, y = features
    model = RandomForestClassifier(2, random_state=0).fit(X, y)
    folder = save_model(model, tmp_path / "model")
    with pytest.raises(ModelFormatError, match="sklearn.tree._tree.Tree"):
        load_model(folder)
    trusted = json.loads((folder / "manifest.json").read_text())["trusted_by_name"]
    public = [
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.tree.DecisionTreeClassifier",
        "sklearn.tree._tree.Tree",
    ]
    for names in (trusted, public):
        twin = load_model(folder, trusted=names)
        assert same(twin.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (FunctionTransformer(lambda X: X), "func: .*lambda.*found by its name"),
        (FunctionTransformer(np.log1p), "func: .*log1p.*no plain function"),
        (KNeighborsClassifier(), "_tree: .*more to it than attributes"),
        (
            make_pipeline(StandardScaler(), KNeighborsClassifier()),
            r"steps\[1\]\[1\]._t",
        ),
    ],
)
def test_what_cannot_be_saved(estimator, match, features, tmp_path):
    model = clone(estimator).fit(*features)
    with pytest.raises(ModelFormatError, match=match):
        save_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_foreign_torch_modules_cannot_be_saved(features, tmp_path):
    scaler = StandardScaler().fit(features[0])
    scaler.net_ = nn.Bilinear(2, 2, 2)
    with pytest.raises(ModelFormatError, match="net_: Bilinear.*__getstate__"):
        save_model(scaler, tmp_path / "model")
    with pytest.raises(TypeError, match="fitted estimator"):
        save_model(nn.Linear(2, 2), tmp_path / "model")


def test_models_that_are_not_fitted(tmp_path):
    twin = load_model(save_model(make_mertools_attention(), tmp_path / "model"))
    assert repr(twin) == repr(make_mertools_attention())
    with pytest.raises(NotFittedError):
        twin.predict(["a.mp4"])


def test_the_manifest_tells_what_it_is(features, tmp_path):
    X, y = features
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), NET)
    folder = save_model(clone(model).fit(X, y), tmp_path / "model")
    told = json.loads((folder / "manifest.json").read_text())
    assert told["format"] == 1 and told["estimator"] == "imblearn.pipeline.Pipeline"
    assert told["classes"] == ["angry", "happy", "sad"]
    assert told["streams"] == {"audio": 3, "text": 3}
    assert told["trusted_by_name"] == told["left_out"] == []
    assert {"python", "skmer", "scikit-learn", "torch"} <= set(told["versions"])
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        *told["files"],
    }


def test_a_model_of_another_version_of_scikit_learn(features, tmp_path):
    folder = save_model(StandardScaler().fit(features[0]), tmp_path / "model")
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    told["versions"]["scikit-learn"] = "1.2.3"
    path.write_text(json.dumps(told))
    with pytest.warns(UserWarning, match=r"scikit-learn 1\.2\.3, and here is"):
        load_model(folder)


@pytest.mark.skipif(
    __import__("torch").cuda.is_available(), reason="a machine without a GPU is needed"
)
def test_a_model_from_a_gpu_loads_without_one(features, clips, tmp_path):
    X, y = features
    model = make_pipeline(StandardScaler(), NET).fit(X, y)
    model[-1].device = "cuda:1"
    encoder = SpeechEncoder(speech_model("wavlm-large"), device="cuda")
    folder = tmp_path / "model"
    with pytest.warns(UserWarning, match="cuda:1 is not here.*CPU"):
        save_model(model, folder)
        twin = load_model(folder)
    assert twin[-1].device == "cpu" and str(twin[-1].device_) == "cpu"
    model[-1].device = "auto"
    assert same(twin.predict_proba(X), model.predict_proba(X))
    save_model(encoder, tmp_path / "encoder")
    assert load_model(tmp_path / "encoder", device="cpu").device == "cpu"
    assert load_model(folder, device="cpu")[-1].device == "cpu"
    text = TextEncoder("some/model", device=["cuda:0", "cuda:1"], device_map={"": 0})
    with pytest.warns(UserWarning, match="cuda:0, cuda:1 is not here"):
        twin = load_model(save_model(text, tmp_path / "text"))
    assert twin.device == "cpu" and twin.device_map is None


def test_folders_of_caches_stay_behind(tmp_path):
    model = make_mertools_attention(cache=tmp_path / "cache")
    folder = save_model(model, tmp_path / "model")
    twin = load_model(folder)
    assert twin.get_params()["encode__audio__cache"] == "default"
    data = b"".join(path.read_bytes() for path in folder.iterdir())
    assert str(tmp_path).encode() not in data


_ELSEWHERE = """
import sys
import numpy as np
from skmer.persistence import load_model
folder, out, *clips = sys.argv[1:]
model = load_model(folder, device="cpu")
np.save(out, model.predict_proba(clips))
"""


def test_another_machine_predicts_the_same(small_clips, tmp_path):
    model = small(make_mertools_attention(sidecar_text=True, random_state=0))
    model.fit(small_clips.paths, ["a", "b"] * 3)
    folder = save_model(model, tmp_path / "model")
    there = tmp_path / "there"
    there.mkdir()
    os.rename(folder, there / "copied")
    variables = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SKMER_", "HOME", "XDG_"))
    }
    subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, "copied", "out.npy", *small_clips.paths],
        cwd=there,
        env={**variables, "HOME": str(there), "XDG_CACHE_HOME": str(there / "xdg")},
        check=True,
        timeout=120,
    )
    assert same(np.load(there / "out.npy"), model.predict_proba(small_clips.paths))
