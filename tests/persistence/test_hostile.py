"""Folders made by someone hostile: refused in words, and nothing of them runs."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from hashlib import blake2b
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import skmer.persistence
from skmer.alignment import ContrastiveAligner
from skmer.encoders import SpeechEncoder
from skmer.enrichment import ChatAnnotator
from skmer.exceptions import ModelFormatError
from skmer.fusion import AttentionFusionClassifier
from skmer.persistence import _trust as trust
from skmer.persistence import load_model, save_model

skops = pytest.importorskip("skops.io")


class Weapon:
    """Unpickles to a call of a shell."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def saved(features, tmp_path_factory):
    """A good folder: arrays, a net, and the tensors of another module."""
    X, y = features
    model = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        ContrastiveAligner("text", "audio", max_epochs=1, random_state=0).set_output(
            transform="pandas"
        ),
        AttentionFusionClassifier(max_epochs=1, hidden_size=8, random_state=0),
    ).fit(X, y)
    return save_model(model, tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def mark(tmp_path):
    """A file that is there only after code has run."""
    mark = tmp_path / "code-has-run"
    yield mark
    assert not mark.exists()


def sign(folder):
    """Make the manifest agree with the files, as someone hostile would."""
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    for name in list(told["files"]):
        data = (folder / name).read_bytes()
        told["files"][name] = {
            "size": len(data),
            "blake2b": blake2b(data, digest_size=32).hexdigest(),
        }
    path.write_text(json.dumps(told))


def read_schema(folder):
    with zipfile.ZipFile(folder / "estimator.skops") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("schema.json")), members


def write_schema(folder, schema, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(folder / "estimator.skops", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("schema.json", json.dumps(schema))
    sign(folder)


def refused(folder, match, **options):
    with pytest.raises(ModelFormatError, match=match) as error:
        load_model(folder, **options)
    return str(error.value)


def text_node(value):
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
        "is_json": True,
    }


def list_node(*items, cls="list", loader="ListNode", module="builtins"):
    return {
        "__class__": cls,
        "__module__": module,
        "__loader__": loader,
        "content": list(items),
    }


def named_node(module, name, loader="TypeNode", **more):
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def dict_node(keys, **content):
    return named_node(
        "builtins", "dict", "DictNode", content=content, key_types=list_node(*keys)
    )


STR = named_node("builtins", "str")


def object_node(module, name, **attributes):
    keys = [STR for _ in attributes]
    return named_node(module, name, "ObjectNode", content=dict_node(keys, **attributes))


def gadgets(mark):
    """Yield ways in which a schema may ask for a call of ``touch mark``."""
    touch = text_node(f"touch {mark}")
    code = text_node(f"open({str(mark)!r}, 'w')")
    args = list_node(touch, cls="tuple", loader="TupleNode")
    run = named_node("posix", "system", "FunctionNode")
    yield "a function", run
    yield "a builtin", named_node("builtins", "eval", "FunctionNode")
    yield "a type", named_node("subprocess", "Popen")
    yield "joblib", named_node("joblib.numpy_pickle", "load", "FunctionNode")
    yield "a list that calls", list_node(touch, cls="system", module="posix")
    yield (
        "a set that calls",
        list_node(code, cls="eval", module="builtins", loader="SetNode"),
    )
    yield (
        "a dict that calls",
        named_node("builtins", "exec", "DictNode", content={}, key_types=list_node()),
    )
    yield "keys that call", dict_node([run], **{f"touch {mark}": text_node(1)})
    yield (
        "a constructor",
        named_node("subprocess", "Popen", "ConstructorFromReduceNode", content=args),
    )
    yield (
        "a listed constructor",
        named_node(
            "skmer.encoders._openface",
            "OpenFaceEncoder",
            "ConstructorFromReduceNode",
            content=args,
        ),
    )
    yield "an object", object_node("subprocess", "Popen", args=touch)
    yield (
        "a partial",
        named_node(
            "functools",
            "partial",
            "PartialNode",
            content={
                "func": run,
                "args": args,
                "kwds": dict_node([]),
                "namespace": dict_node([]),
            },
        ),
    )
    yield (
        "an operator",
        named_node("operator", "attrgetter", "OperatorFuncNode", attrs=args),
    )
    yield (
        "a method",
        named_node(
            "sklearn.pipeline",
            "Pipeline",
            "MethodNode",
            content={
                "func": "__class__",
                "obj": object_node("sklearn.pipeline", "Pipeline", steps=list_node()),
            },
        ),
    )
    yield (
        "a method caller",
        named_node("operator", "methodcaller", "OperatorFuncNode", attrs=args),
    )
    yield (
        "a default factory",
        named_node(
            "collections",
            "defaultdict",
            "DefaultDictNode",
            content={"main": dict_node([]), "default_factory": run},
        ),
    )
    yield (
        "a generator",
        named_node(
            "numpy.random._generator", "Generator", "RandomGeneratorNode", content={}
        ),
    )
    yield (
        "a loss",
        named_node(
            "subprocess",
            "Popen",
            "LossNode",
            content=dict_node([]),
            **{"__reduce__": {"args": args}},
        ),
    )
    yield (
        "a scalar that calls",
        named_node("posix", "system", "NdArrayNode", type="numpy", file="0.npy"),
    )
    yield (
        "a net that unpickles",
        object_node(
            "skmer.fusion._attention",
            "AttentionFusionClassifier",
            device=text_node("cpu"),
            __cuda_dependent_attributes__=text_node("x"),
        ),
    )
    yield "an unknown loader", named_node("builtins", "str", "PickleNode")


@pytest.mark.parametrize("number", range(len(list(gadgets("x")))))
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_gadgets_are_refused(number, protocol, folder, mark):
    what, node = list(gadgets(mark))[number]
    array = io.BytesIO()
    np.save(array, np.zeros(1))
    schema = object_node("sklearn.pipeline", "Pipeline", steps=list_node(node))
    write_schema(folder, schema | {"protocol": protocol}, {"0.npy": array.getvalue()})
    refused(folder, r"not on the list|cannot be trusted")
    assert what


def test_the_gadgets_are_ones():
    # At least one runs where everything that a file names is trusted
    with pytest.raises(ZeroDivisionError):
        node = list_node(text_node("1/0"), cls="eval", module="builtins")
        node["content"] = [text_node("1/0")]
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            schema = dict_node([named_node("builtins", "eval", "FunctionNode")])
            schema["content"] = {"1/0": text_node(1)}
            archive.writestr("schema.json", json.dumps(schema | {"protocol": 2}))
        skops.loads(stream.getvalue(), trusted=["builtins.eval"])


def test_an_id_of_another_node_brings_no_other_types(folder):
    schema, members = read_schema(folder)
    function = named_node(
        "sklearn.feature_selection._univariate_selection", "chi2", "FunctionNode"
    )
    keys = list_node(named_node("builtins", "str")) | {"__id__": 77}
    node = dict_node([STR], x=text_node(1)) | {"key_types": keys}
    for first in (list_node(function) | {"__id__": 77}, function | {"__id__": 77}):
        root = list_node(first, node)
        write_schema(folder, root | {"protocol": 2}, members)
        refused(folder, "have the id 77")


def test_pickles_in_place_of_files_are_not_read(folder, mark, tmp_path):
    for name in ["estimator.skops", "net-0.safetensors", "tensors.safetensors"]:
        copy = Path(shutil.copytree(folder, tmp_path / name))
        (copy / name).write_bytes(pickle.dumps(Weapon(mark)))
        refused(copy, "damaged or was changed")
        sign(copy)
        refused(copy, "damaged|cannot be made again")
    joblib.dump(Weapon(mark), tmp_path / "model.joblib")
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_model(tmp_path / "model.joblib")
    other = tmp_path / "other"
    other.mkdir()
    joblib.dump(Weapon(mark), other / "model.joblib")
    refused(other, "no manifest.json.*pickles")


def test_the_pickle_inside_a_net_is_not_read(folder, mark):
    """skorch unpickles what a net's state has under this name."""
    state = {"device": "cpu", "__cuda_dependent_attributes__": None}
    state["__cuda_dependent_attributes__"] = pickle.dumps(Weapon(mark))
    cls = "skmer.fusion._attention.AttentionFusionClassifier"
    schema, members = read_schema(folder)
    node = object_node("skmer.persistence._records", "Record")
    node["content"] = dict_node(
        [STR, STR],
        kind=text_node("object"),
        facts=dict_node(
            [STR, STR],
            type=named_node(*cls.rsplit(".", 1)),
            state=dict_node([STR], device=text_node("cpu")),
        ),
    )
    write_schema(folder, node | {"protocol": 2}, members)
    refused(folder, "AttentionFusionClassifier: not on the list")
    # which would be code
    with pytest.raises(SystemError):
        harmless = pickle.dumps(_Exits())
        net = AttentionFusionClassifier()
        net.__setstate__({"device": "cpu", "__cuda_dependent_attributes__": harmless})


class _Exits:
    def __reduce__(self):
        return _exit, ()


def _exit():
    raise SystemError("code has run")


def npy(header, data=b""):
    text = repr(header).encode() if isinstance(header, dict) else header
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"x" * 8),
        npy({"descr": "<f8", "fortran_order": False, "shape": (2**60,)}, b"x" * 8),
        npy({"descr": "<f8", "fortran_order": False, "shape": (-1,)}, b""),
        npy({"descr": "<U0", "fortran_order": False, "shape": (2**60,)}, b""),
        npy({"descr": "<f8", "fortran_order": False, "shape": (2,)}, b"x" * 8),
        npy(b"{'descr': __import__('os').system('touch x')}"),
        npy(b"(" * 5000),
        npy(b"{}"),
        b"\x93NUMPY\x09\x00",
        b"",
        pickle.dumps(np.array([None])),
    ],
)
def test_arrays_that_are_none(data, folder):
    schema, members = read_schema(folder)
    members[next(iter(members))] = data
    write_schema(folder, schema, members)
    start = time.perf_counter()
    refused(folder, r"its array \d+.npy is damaged")
    assert time.perf_counter() - start < 5


def header_of(tensors):
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize("name", ["net-0.safetensors", "tensors.safetensors"])
@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        b"",
        header_of({"0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}})
        + b"x" * 8,
        header_of({"0": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**50]}})
        + b"x" * 8,
        header_of({"0": {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]}})
        + b"x" * 8,
        header_of(
            {
                "0": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "1": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            }
        )
        + b"x" * 12,
        header_of({"0": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}})
        + b"x" * 8,
    ],
)
def test_safetensors_that_lie(name, data, folder):
    (folder / name).write_bytes(data)
    sign(folder)
    refused(folder, "damaged|cannot be made again")


def test_bombs_are_not_unpacked(folder):
    schema, members = read_schema(folder)
    members["1.npy"] = bytes(2**24)
    write_schema(folder, schema, members, zipfile.ZIP_DEFLATED)
    refused(folder, "is packed")
    # The same bytes as many members
    write_schema(folder, schema, {f"{i}.npy": b"a" * 1000 for i in range(50)})
    data = bytearray((folder / "estimator.skops").read_bytes())
    place = data.rindex(b"PK\x05\x06")
    start = struct.unpack("<I", data[place + 16 : place + 20])[0]
    at = start
    while data[at : at + 4] == b"PK\x01\x02":
        size = 46 + sum(struct.unpack("<HHH", data[at + 28 : at + 34]))
        if data[at + 46 : at + 47] != b"s":
            data[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
        at += size
    (folder / "estimator.skops").write_bytes(data)
    sign(folder)
    refused(folder, "larger than the file")
    write_schema(folder, schema, {"../../evil.npy": b""})
    refused(folder, "has a member '../../evil.npy'")


def test_schemas_that_are_no_trees(folder):
    _, members = read_schema(folder)
    circle = list_node() | {"__id__": 5}
    circle["content"] = [list_node() | {"__id__": 5}]
    for schema in (
        {},
        list_node("x"),
        list_node(None),
        named_node("builtins", "str", "JsonNode", content=json.dumps({"a": 1})),
        list_node(text_node(1) | {"__id__": "x"}),
    ):
        write_schema(folder, schema | {"protocol": 2}, members)
        refused(folder, "cannot be trusted")
    write_schema(folder, circle | {"protocol": 2}, members)
    refused(folder, "damaged|fitted")
    outer, inner = json.dumps(list_node({}) | {"protocol": 2}).split("{}")
    deep = [outer * n + json.dumps(text_node(1)) + inner * n for n in (420, 10**5)]
    for text in (b"[" * 10**6, b"null", b"\xff", *deep):
        with zipfile.ZipFile(folder / "estimator.skops", "w") as archive:
            archive.writestr("schema.json", text)
        sign(folder)
        refused(folder, "cannot be trusted|damaged")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 2}, "format 2.*reads up to 1. Update skmer"),
        ({"format": "1"}, "format '1'"),
        ({"format": True}, "format True"),
        ({"kind": "other"}, "of kind 'other'"),
        ({"files": []}, "lists no estimator"),
        ({"files": {"estimator.skops": {}}}, "no size"),
        ({"files": {"estimator.skops": {"size": -1}}}, "no size"),
        (
            {"files": {"estimator.skops": {"size": 0}, "../x": {"size": 1}}},
            "lists a file '../x'",
        ),
        (
            {"files": {"estimator.skops": {"size": 0}, "/etc/passwd": {"size": 1}}},
            "lists a file '/etc/passwd'",
        ),
    ],
)
def test_manifests_that_are_wrong(change, match, folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(folder, match)


def test_files_of_nets_that_are_not_numbered(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    data = (folder / "net-0.safetensors").read_bytes()
    (folder / "net-7.safetensors").write_bytes(data)
    manifest["files"]["net-7.safetensors"] = manifest["files"]["net-0.safetensors"]
    path.write_text(json.dumps(manifest))
    refused(folder, "net-7.safetensors, which are not numbered")


def test_damage_is_named(folder, tmp_path):
    for name in sorted(path.name for path in folder.iterdir()):
        copy = Path(shutil.copytree(folder, tmp_path / name))
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[: len(data) // 2])
        refused(copy, f"{name} is damaged")
        if name != "manifest.json":
            (copy / name).write_bytes(data + b"x")
            refused(copy, f"{name} is damaged.*at the most")
            (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            refused(copy, f"{name} is damaged.*digest")
            (copy / name).unlink()
            refused(copy, f"{name} is damaged.*not there")
    (folder / "manifest.json").write_bytes(b"[" * 10**6)
    refused(folder, "no manifest")


@pytest.mark.skipif(os.name == "nt", reason="links and pipes as on POSIX")
def test_links_and_pipes_are_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    for name in ("estimator.skops", "manifest.json"):
        shutil.copy(folder / name, secret)
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        refused(folder, "is a link|no plain file")
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, "no plain file|bytes")
        (folder / name).unlink()
        shutil.copy(secret, folder / name)
    load_model(folder)


def test_attributes_that_reach_outside(features, folder, tmp_path):
    """What save_model never writes is refused, what does more than compute is asked."""
    X, y = features
    for key, node in [
        ("memory", text_node(str(tmp_path / "evil"))),
        ("callbacks", list_node(text_node("x"))),
    ]:
        copy = Path(shutil.copytree(folder, tmp_path / key))
        schema, members = read_schema(copy)
        state = schema["content"]
        state["content"].pop(key, None)
        state["content"][key] = node
        state["key_types"]["content"] = [STR] * len(state["content"])
        write_schema(copy, schema, members)
        refused(copy, f"has {key}=")
    code = SpeechEncoder("someone/model", trust_remote_code=True)
    place = save_model(code, tmp_path / "code")
    refused(place, r"runs Python code.*trusted=\['trust_remote_code'\]")
    assert load_model(place, trusted=["trust_remote_code"]).trust_remote_code
    kernel = SpeechEncoder("someone/model", attn_implementation="evil/kernel")
    place = save_model(kernel, tmp_path / "kernel")
    refused(place, r"compiled code from a hub.*trusted=\['evil/kernel'\]")
    load_model(place, trusted=["evil/kernel"])
    server = "http://somewhere.example/v1"
    chat = ChatAnnotator("m", ["a", "b"], base_url=server, api_key_env="AWS_SECRET")
    place = save_model(chat, tmp_path / "chat")
    refused(place, "sends what clips hold to a server.*somewhere")
    refused(place, "AWS_SECRET", trusted=[server])
    assert load_model(place, trusted=[server, "AWS_SECRET"]).base_url == server


def test_arrays_of_support_vectors_must_fit(features, tmp_path):
    X, y = features
    for key, value in [
        ("dual_coef_", np.zeros((2, 5))),
        ("_n_support", np.array([10**6, 1, 1], dtype=np.int32)),
        ("_intercept_", np.zeros(1)),
        ("support_vectors_", np.zeros((3, 3))),
    ]:
        model = SVC().fit(X, y)
        setattr(model, key, value)
        with pytest.raises(ModelFormatError, match="do not fit each other"):
            save_model(model, tmp_path / "model")


@pytest.mark.parametrize("number", [-1, 6, 200_000_000])
def test_support_vectors_are_of_training_rows(number, features, tmp_path):
    """libsvm would read beyond the rows of a stored kernel."""
    X, y = features
    model = SVC().fit(X, y)
    # So that predictions take the features for columns of a kernel
    model.kernel, model.shape_fit_ = "precomputed", (X.shape[1], X.shape[1])
    model.support_ = np.full_like(model.support_, number)
    with pytest.raises(ModelFormatError, match="do not fit each other"):
        save_model(model, tmp_path / "model")


def test_scorers_call_predictions_only(features, tmp_path):
    from sklearn.metrics import accuracy_score, make_scorer
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(
        LogisticRegression(), {}, cv=2, scoring=make_scorer(accuracy_score)
    ).fit(*features)
    search.scorer_._response_method = "__setstate__"
    with pytest.raises(ModelFormatError, match="calls '__setstate__'"):
        save_model(search, tmp_path / "model")


def test_nets_take_no_other_parameters(folder):
    schema, members = read_schema(folder)
    text = json.dumps(schema)
    assert '"max_epochs"' in text
    write_schema(
        folder, json.loads(text.replace('"max_epochs"', '"_threads"')), members
    )
    refused(folder, "no parameter '_threads'")


_HOOKED = """
import sys
from pathlib import Path
import skmer.persistence, skops.io, skmer.fusion, safetensors.torch, torch.optim
events = []
watch = {"open", "exec", "os.system", "subprocess.Popen", "socket.connect", "os.mkdir",
         "os.rename", "os.remove", "pickle.find_class", "os.symlink", "os.chmod"}
def hook(event, args):
    if event in watch and not isinstance(args[0], int):
        events.append((event, str(args[0])))
folder = sys.argv[1]
skmer.persistence.load_model(folder)  # imports what it needs
sys.addaudithook(hook)
skmer.persistence.load_model(folder)
seen = list(events)
lib = (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev/null")
outside = [e for e in seen if not (e[0] == "open" and
           (e[1].startswith((folder, *lib)) or e[1].endswith((".py", ".pyc"))))]
print(sorted({Path(e[1]).name for e in seen if e[1].startswith(folder)}))
print(outside)
"""


def test_loading_opens_the_files_of_the_folder_and_nothing_else(folder):
    done = subprocess.run(
        [sys.executable, "-c", _HOOKED, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    opened, outside = done.stdout.splitlines()[-2:]
    names = sorted(path.name for path in folder.iterdir())
    assert opened == repr(names)
    assert outside == "[]"


# The audit of skmer/persistence/_trust.py, as far as a test can hold it.

# Whose methods were read.
READ = {
    # They compare versions, make a store of threads, interpolate between arrays
    "__setstate__": {"BaseEstimator", "FaceDetector", "IsotonicRegression"},
    # They look up what is there
    "__getattr__": {"FrozenEstimator", "MetadataRequest"},
    "__del__": set(),
}


def _found(name):
    module, _, cls = name.rpartition(".")
    return getattr(__import__(module, fromlist=[cls]), cls)


@pytest.mark.parametrize("name", sorted(trust.OBJECTS))
def test_trusted_types_do_nothing_when_they_are_made(name):
    cls = _found(name)
    assert trust.name_of(cls) == name
    assert cls.__new__ is object.__new__
    for method, read in READ.items():
        owners = {c.__name__ for c in cls.__mro__ if method in vars(c)}
        assert owners <= read
    assert not issubclass(cls, (torch.nn.Module, type))
    import skorch

    assert not issubclass(cls, skorch.NeuralNet)


@pytest.mark.parametrize("name", sorted(trust.NAMED - trust.OBJECTS))
def test_trusted_names_are_there(name):
    thing = _found(name)
    module = name.rpartition(".")[0]
    roots = ("skmer.", "sklearn.", "torch.nn.modules.", "torch.optim.", "numpy")
    assert f"{module}.".startswith((*roots, "builtins."))
    if module == "builtins":
        assert thing in (bool, float, int, str)


def test_every_public_estimator_is_on_the_lists():
    from test_completeness import _estimators

    names = {trust.name_of(estimator) for estimator in _estimators()}
    missing = names - trust.OBJECTS - trust.NETS
    assert not missing, (
        f"read what {missing} do when attributes of theirs are hostile, and add them "
        "to skmer/persistence/_trust.py"
    )


def test_the_package_holds_no_pickles():
    root = Path(skmer.persistence.__file__).parent
    for path in root.glob("*.py"):
        text = path.read_text()
        for word in ("import pickle", "import joblib", "torch.load", "allow_pickle"):
            assert word not in text, path
