"""No public estimator escapes the common checks, the README or the package list."""

import importlib
import inspect
import pkgutil
from pathlib import Path

from instances import CLIP_ENCODERS, ELSEWHERE, NUMERIC, SAMPLERS
from sklearn.base import BaseEstimator

import skmer
import skmer.clips
import skmer.fusion

ROOT = Path(skmer.__file__).parents[1]
# Bases that users subclass, not use.
TEMPLATES = {skmer.clips.ClipEncoder, skmer.fusion.FusionClassifier}


def _estimators():
    found = set()
    for info in pkgutil.iter_modules(skmer.__path__):
        module = importlib.import_module(f"skmer.{info.name}")
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if inspect.isclass(thing) and issubclass(thing, BaseEstimator):
                found.add(thing)
    return found - TEMPLATES


def test_every_estimator_is_checked():
    checked = {type(estimator) for estimator in NUMERIC + CLIP_ENCODERS + SAMPLERS}
    missing = _estimators() - checked - set(ELSEWHERE)
    assert not missing, f"add {missing} to tests/instances.py"


def test_the_walk_finds_estimators():
    assert len(_estimators()) >= 6
    assert TEMPLATES.isdisjoint(_estimators())


def test_what_is_tested_elsewhere_is():
    for estimator, place in ELSEWHERE.items():
        assert estimator.__name__ in (ROOT / place).read_text()


def test_readme_names_every_estimator():
    readme = (ROOT / "README.md").read_text()
    missing = [e.__name__ for e in _estimators() if f"`{e.__name__}`" not in readme]
    assert not missing, f"add {missing} to README's table"


def test_changelog_names_every_estimator():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    missing = [e.__name__ for e in _estimators() if e.__name__ not in changelog]
    assert not missing, f"add {missing} to CHANGELOG.md"


def test_tests_mirror_the_package():
    parts = {
        path.parent.name for path in Path(skmer.__file__).parent.glob("*/__init__.py")
    }
    missing = [
        p for p in sorted(parts) if not list((ROOT / "tests" / p).glob("test_*"))
    ]
    assert not missing, f"no tests for {missing}"


def test_every_example_has_a_test():
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    tests = {path.stem for path in (ROOT / "tests" / "examples").glob("test_*.py")}
    assert tests == {f"test_{name}" for name in examples}
