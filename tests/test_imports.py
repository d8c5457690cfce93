"""The import rules: layers, no cycles, absolute names, and a light top level."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skmer

ROOT = Path(skmer.__file__).parent
# Layer of each part; a part may import lower layers only, and inside itself.
LAYERS = {
    "exceptions": 0,
    "_config": 0,
    "_streams": 0,
    "_version": 0,
    "utils": 0,
    "cache": 1,
    "media": 1,
    "modules": 1,
    "metrics": 1,
    # Above cache, whose digests tell models apart
    "_pretrained": 2,
    "clips": 2,
    "datasets": 2,
    "encoders": 3,
    "enrichment": 3,
    "fusion": 3,
    "alignment": 3,
    "preprocessing": 3,
    "feature_selection": 3,
    "over_sampling": 3,
    "ensemble": 3,
    "label_refinement": 3,
    "semi_supervised": 3,
    "model_selection": 3,
    "persistence": 4,
    "recipes": 4,
    "evaluation": 5,
    "cli": 6,
    "__main__": 7,
}
# What must run without heavy packages, and the packages.
FORBIDDEN = {
    "cache": {"sklearn", "torch", "skorch", "transformers"},
    "media": {"sklearn", "torch", "skorch", "transformers"},
    "modules": {"sklearn", "skorch", "transformers"},
    "_pretrained": {"sklearn", "skorch"},
}
TORCH_PARTS = {"modules", "fusion", "alignment"}
# These may import torch too, but only where it is used: their import brings none.
LAZY_TORCH_PARTS = {"_pretrained", "cli", "encoders", "enrichment", "persistence"}
# L0 may import each other in this order only.
BASE_ORDER = ["exceptions", "_version", "_config", "_streams", "utils"]


def _modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, path


def _imports(path):
    """Yield (module imported, at top level) of every import statement."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module, id(node) in top
            # "from skmer.a import b" may import the module skmer.a.b
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in top


MODULES = dict(_modules())


def _part(module):
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else None


def test_every_part_has_a_layer():
    parts = {_part(name) for name in MODULES} - {None}
    assert parts <= set(LAYERS), f"give {parts - set(LAYERS)} a layer in this test"


@pytest.mark.parametrize("name", MODULES)
def test_layers(name):
    part = _part(name)
    if part is None:
        return
    for imported, _ in _imports(MODULES[name]):
        if not imported.startswith("skmer.") or _part(imported) not in LAYERS:
            continue
        other = _part(imported)
        if other == part:
            continue
        if LAYERS[part] == 0:
            assert BASE_ORDER.index(other) < BASE_ORDER.index(part), (
                f"{name} imports {imported}"
            )
        else:
            assert LAYERS[other] < LAYERS[part], f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_heavy_packages_stay_where_they_belong(name):
    part = _part(name)
    roots = {imported.partition(".")[0] for imported, _ in _imports(MODULES[name])}
    assert not roots & FORBIDDEN.get(part, set())
    if "torch" in roots or "skorch" in roots:
        assert part in TORCH_PARTS | LAZY_TORCH_PARTS, f"{name} must not import torch"
    if part in LAZY_TORCH_PARTS:
        at_once = {
            imported.partition(".")[0]
            for imported, top in _imports(MODULES[name])
            if top
        }
        assert not at_once & {"torch", "skorch", "transformers", "huggingface_hub"}


def test_no_cycles():
    graph = {
        name: {
            imported
            for imported, _ in _imports(path)
            if imported in MODULES and imported != name
        }
        for name, path in MODULES.items()
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            # a package's __init__ imports its own files; they never import it
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)
    assert done == set(MODULES)


def test_import_skmer_is_light():
    code = (
        "import sys, skmer;"
        "heavy = {'torch', 'skorch', 'transformers', 'cv2', 'av', 'matplotlib',"
        " 'lmdb', 'sklearn', 'imblearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "skmer._pretrained",
        "skmer.datasets",
        "skmer.encoders",
        "skmer.enrichment",
        "skmer.media",
    ],
)
def test_clips_need_no_torch(module):
    heavy = "{'torch', 'transformers'}"
    code = f"import sys, {module}; assert not {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_packages_say_what_is_public():
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name != "skmer":
            module = __import__(name, fromlist=["__all__"])
            assert sorted(module.__all__, key=str) == module.__all__, name
            for public in module.__all__:
                assert hasattr(module, public), f"{name}.{public}"


def test_private_files_are_private():
    for name, path in MODULES.items():
        if path.name != "__init__.py" and len(name.split(".")) > 2:
            public = path.stem in {"estimator_checks"}
            assert public or path.stem.startswith("_"), name
