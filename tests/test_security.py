"""What files from elsewhere may do: nothing but be read, or be refused.

Models that are saved and loaded have tests of their own (tests/persistence), and so
have archives and label files (tests/datasets) and forged records of the cache
(tests/cache).
"""

import ast
import json
import os
import pickle
import shutil
import struct
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skmer
from skmer.cache import Record, RecordBatch, open_store
from skmer.clips import ClipTable
from skmer.datasets import load_clips
from skmer.encoders import OpenFaceEncoder, PrecomputedEncoder
from skmer.evaluation import EvaluationReport
from skmer.exceptions import CacheWarning, MediaError
from skmer.label_refinement import import_label_studio
from skmer.model_selection import ReferenceFolds

# What may run code, or reach what it should not
_MODULES = {
    *("_pickle", "cloudpickle", "code", "codeop", "ctypes", "dill", "dis", "importlib"),
    *("joblib", "marshal", "pickle", "pickletools", "pty", "runpy", "shelve", "skops"),
    *("subprocess", "tarfile", "xml", "yaml", "zipfile"),
}
_HARMLESS = {
    *("importlib.metadata", "importlib.util", "joblib.externals.loky"),
    *("joblib.Parallel", "joblib.cpu_count", "joblib.delayed"),
    *("joblib.effective_n_jobs", "joblib.parallel"),
}
_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input"}
_CALLS = {
    *("execl", "execv", "execve", "execvp", "fork", "popen", "posix_spawn", "spawnl"),
    *("spawnv", "startfile", "extractall", "read_hdf", "read_html", "read_pickle"),
    *("read_sql", "read_xml", "from_pretrained", "torch_load", "FileStorage"),
}
_LOADERS = {"joblib", "np", "numpy", "torch", "torch.hub", "torch.jit", "pickle"}

# Where they stand, and why they may
_ALLOWED = {
    "__init__.py": {"importlib"},  # skmer's own packages, from a list
    "_pretrained/_backbones.py": {"from_pretrained"},
    "cli/_main.py": {"importlib"},  # skmer's own commands, from a list
    "cli/_machine.py": {"importlib"},  # versions; names of packages from a list
    "datasets/_archives.py": {"zipfile"},  # each member is looked at first
    "datasets/_npz.py": {"pickle", "pickletools", "zipfile"},  # knows no class
    "enrichment/_endpoint_client.py": {"importlib"},  # a name that stands there
    "evaluation/_resume.py": {"joblib", "load"},  # hashes; no pickles
    "label_refinement/_label_studio.py": {"xml"},  # writes only
    "persistence/_schema.py": {"zipfile"},  # read in memory, audited
    "persistence/_trust.py": {"importlib"},  # names from a list
    "utils/_dask.py": {"joblib"},  # its backends
    "utils/_dask_run.py": {"joblib"},  # its backends
    # What a cluster's own client sends its workers, to run it there
    "utils/_dask_tools.py": {"cloudpickle", "loads", "pickle"},
    "utils/_optional.py": {"importlib"},  # names from a list
    "utils/estimator_checks.py": {"joblib", "loads", "pickle"},  # what it made itself
}


def _full_name(node):
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id if isinstance(node, ast.Name) else "?", *names[::-1]])


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _dangers(tree):
    """Return names in a parsed program that could run code of somebody else."""
    found = set()
    for node in ast.walk(tree):
        for name in _imported(node):
            package = name.split(".")[0]
            harmless = any(f"{name}.".startswith(f"{known}.") for known in _HARMLESS)
            if package in _MODULES and not harmless:
                found.add(package)
        if isinstance(node, ast.Name) and node.id in _BUILTINS:
            found.add(node.id)
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = _full_name(node.func).rpartition(".")
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in _CALLS or (owner, name) in (("os", "system"), ("", "compile")):
            found.add(name)
        if name in ("load", "loads") and owner in _LOADERS:
            found.add(name)
        # model.eval() takes nothing; DataFrame.eval(text) runs a text.
        if name == "eval" and (node.args or node.keywords):
            found.add("eval")
        if keywords.get("allow_pickle", "False") != "False":
            found.add("allow_pickle")
        if keywords.get("weights_only", "True") != "True":
            found.add("weights_only")
        if keywords.get("shell", "False") != "False":
            found.add("shell")
        if keywords.get("trust_remote_code") == "True":
            found.add("trust_remote_code")
    return found


@cache
def _sources():
    root = Path(skmer.__file__).parent
    return [
        (path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8")))
        for path in sorted(root.rglob("*.py"))
    ]


def test_what_may_run_code_stands_in_few_places():
    found = {name: _dangers(tree) for name, tree in _sources()}
    assert {name: names for name, names in found.items() if names} == _ALLOWED


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import pickle", "pickle"),
        ("def f():\n    from joblib import load", "joblib"),
        ("import os.path, subprocess as s", "subprocess"),
        ("from xml.etree import ElementTree", "xml"),
        ("np.load(path)", "load"),
        ("torch.load(path, weights_only=False)", "weights_only"),
        ("torch.hub.load('a/b', 'c')", "load"),
        ("np.save(path, x, allow_pickle=True)", "allow_pickle"),
        ("frame.eval('a + b')", "eval"),
        ("f = eval", "eval"),
        ("compile(text, 'f', 'exec')", "compile"),
        ("os.system('ls')", "system"),
        ("archive.extractall()", "extractall"),
        ("pd.read_pickle(path)", "read_pickle"),
        ("AutoModel.from_pretrained('a')", "from_pretrained"),
        ("f(trust_remote_code=True)", "trust_remote_code"),
        ("importlib.import_module('a')\nimport importlib", "importlib"),
    ],
)
def test_the_audit_sees(source, name):
    assert name in _dangers(ast.parse(source))
    harmless = "model.eval()\nfrom joblib import Parallel, delayed\nmodel.compile()"
    assert not _dangers(ast.parse(harmless))


def test_arrays_and_models_are_read_without_pickles():
    """Every call that could unpickle says that it must not."""
    n_calls = 0
    for name, tree in _sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            call = _full_name(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if call in ("np.load", "numpy.load"):
                assert keywords.get("allow_pickle") == "False", name
                n_calls += 1
            if call.endswith(".load_params") and "super" not in ast.unparse(node):
                assert keywords.get("use_safetensors") == "True", name
                n_calls += 1
            if call.endswith(".from_pretrained"):
                assert keywords["local_files_only"] == "True", name
                if call.startswith("kind."):
                    assert keywords["weights_only"] == "True", name
                else:
                    assert keywords["trust_remote_code"] == "trust_remote_code", name
                n_calls += 1
    assert n_calls >= 6


# Files that hold pickles


class _Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


@pytest.fixture
def mark(tmp_path):
    """A file that pickles make; it must not be there at the end."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists()


def _bomb_files(mark):
    bomb = np.empty(1, dtype=object)
    bomb[0] = _Bomb(mark)
    yield "pickle", pickle.dumps(_Bomb(mark))
    path = mark.with_name("bomb.npy")
    np.save(path, bomb, allow_pickle=True)
    yield "npy", path.read_bytes()
    path = mark.with_name("bomb.npz")
    np.savez(path, a=bomb)
    yield "npz", path.read_bytes()
    # A pickle after a head that promises numbers
    head = path.with_name("head.npy")
    np.save(head, np.zeros(4))
    yield "mixed", head.read_bytes()[:-32] + pickle.dumps(_Bomb(mark))


def test_the_bombs_are_ones(tmp_path):
    for name, content in _bomb_files(tmp_path / "made"):
        if name == "pickle":
            pickle.loads(content)
            assert (tmp_path / "made").exists()


def test_features_that_are_pickles(tmp_path, mark):
    names = []
    for name, content in _bomb_files(mark):
        (tmp_path / f"{name}.npy").write_bytes(content)
        names.append(name)
    encoder = PrecomputedEncoder(tmp_path, n_features=4, on_error="nan", cache=None)
    with pytest.warns(Warning, match="could not be read"):
        features = encoder.transform(names)
    # The last is numbers to whoever does not unpickle
    assert np.isnan(features[:3]).all()
    assert len(encoder.failures(names)) >= 3
    with pytest.raises(MediaError, match="no CSV file|no text file|damaged|lacks"):
        OpenFaceEncoder(cache=None).transform([str(tmp_path / "npy.npy")])


def test_a_cache_of_pickles(tmp_path, mark):
    key = b"k" * 32
    for name, content in _bomb_files(mark):
        store = open_store(tmp_path / name)
        store.put_many([(key, Record("ok", {"x": np.zeros(4)}))])

        def plant(txn, content=content):
            txn.put(key, content)
            txn.put(b"i" * 16, content)

        store._environment.run(plant, write=True)
        with warnings.catch_warnings():
            # What a pickle is taken for, damaged or of another format, is by chance
            warnings.simplefilter("ignore", CacheWarning)
            batch = store.get_many([key])
        assert not batch.status.any()
        store.close()
    batch = RecordBatch(1)
    batch.add(0, [key], [memoryview(pickle.dumps(_Bomb(mark)) + bytes(8))])
    assert not batch.finish().status.any()


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"x": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}},
        {"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}},
        {"__metadata__": {"skmer": "[" * 10_000}},
        {"__metadata__": {"skmer": '{"format": "x", "classes": 7}'}},
        {"__metadata__": "skmer"},
        [],
    ],
)
@pytest.mark.parametrize("claimed", [None, 2**62, 0])
def test_safetensors_that_lie(tmp_path, header, claimed):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    from skmer.encoders import AdaptedSpeechEncoder
    from skmer.fusion import AttentionFusionClassifier

    text = json.dumps(header).encode()
    length = len(text) if claimed is None else claimed
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + text + bytes(8))
    with pytest.raises(ValueError, match="not a file that save_adapters wrote"):
        AdaptedSpeechEncoder("nowhere").load_adapters(path)
    with pytest.raises(ValueError, match="x.safetensors"):
        AttentionFusionClassifier().load_params(path, use_safetensors=True)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_a_checkpoint_asks_for_code_of_a_hub(tmp_path, name):
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tiny_text_models import text_model

    from skmer.encoders import TextEncoder

    folder = shutil.copytree(text_model("bert"), tmp_path / "bert")
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {name: "somebody/kernel"}
    path.write_text(json.dumps(config))
    with pytest.raises(OSError, match="somebody/kernel.*attn_implementation='sdpa'"):
        TextEncoder(str(folder), cache=None).transform(["hello"])
    encoder = TextEncoder(str(folder), cache=None, attn_implementation="sdpa")
    assert np.isfinite(encoder.transform(["hello"])).all()


def test_json_that_is_too_deep(tmp_path):
    deep = "[" * 200_000
    (tmp_path / "report.json").write_text(deep)
    with pytest.raises(ValueError, match="no report of skmer"):
        EvaluationReport.load(tmp_path)
    with pytest.raises(ValueError, match="is no JSON"):
        import_label_studio(tmp_path / "report.json")
    folds = tmp_path / "folds.csv"
    ReferenceFolds(pd.Series([1, 2], index=["a", "b"])).save(folds)
    first, rest = folds.read_text().split("\n", 1)
    folds.write_text(f"{first}\n# test: {deep}\n{rest}")
    with pytest.raises(ValueError, match="is no JSON"):
        ReferenceFolds.read(folds)


# Paths


@pytest.fixture
def root(tmp_path):
    """A folder of features, beside which lies what nobody may read."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").mkdir()
    np.save(tmp_path / "secret.npy", np.arange(3.0))
    np.save(tmp_path / "face.npy", np.arange(3.0))
    np.save(root / "a.npy", np.zeros(3))
    return root


@pytest.fixture(scope="module")
def _opened():
    """A list that gets the files that are opened; a hook can never be removed."""
    lists = []

    def note(event, args):
        if lists and event == "open":
            lists[0].append(str(args[0]))

    sys.addaudithook(note)
    return lists


@pytest.fixture
def opened(_opened):
    _opened.append([])
    yield _opened[0]
    _opened.clear()


@pytest.mark.parametrize(
    "name",
    ["../secret", "..", ".", "/etc/passwd", "x/../../secret", "a\0b", "../a.mp4/.."],
)
@pytest.mark.parametrize("pattern", ["{name}.npy", "{name}/face.npy", "f_{name}.npy"])
def test_names_of_clips_lead_nowhere_else(root, name, pattern, opened):
    X = pd.Series(["x.mp4"], index=[name])
    encoder = PrecomputedEncoder(
        root, pattern=pattern, column="index", n_features=3, cache=None
    )
    with pytest.raises((MediaError, ValueError)):
        encoder.transform(X)
    PrecomputedEncoder(root, cache=None).transform(["a.mp4"])
    assert str(root / "a.npy") in opened
    away = [os.path.realpath(p) for p in opened if p.endswith(".npy")]
    assert all(p.startswith(str(root.resolve()) + os.sep) for p in away), away


def test_links_are_followed_as_the_folder_has_them(root, tmp_path):
    """Who may put a link into the folder may put a copy there as well."""
    clip = tmp_path / "elsewhere.wav"
    clip.write_bytes(b"sound")
    (root / "link.wav").symlink_to(clip)
    (root / "link.txt").symlink_to(tmp_path / "words")
    (tmp_path / "words").write_text("so glad")
    (root / "clips.csv").write_text("path,label\nlink.wav,x\nlink.wav,x\n")
    (root / "clips.csv").write_text("path,label\nlink.wav,x\n")
    with pytest.warns(UserWarning, match="one clip"):
        clips = load_clips(root / "clips.csv")
    # The path stays below the root; it is not replaced by where the link leads.
    assert clips.data["audio"].tolist() == [str(root / "link.wav")]
    table = ClipTable(sidecar_text=True).fit_transform(clips.data)
    assert table["text"].tolist() == ["so glad"]


def test_transcripts_lie_beside_their_clip(root, tmp_path):
    (tmp_path / "a.txt").write_text("not these")
    table = ClipTable(sidecar_text=True).fit_transform([str(root / "a.wav")])
    assert table["text"].tolist() == [None]
