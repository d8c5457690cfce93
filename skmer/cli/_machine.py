"""What ``skmer doctor`` finds out about a machine."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np

from skmer._config import get_config
from skmer._version import __version__

# Distributions whose modules are called otherwise.
_MODULES = {
    "av": "av",
    "dlib-bin": "dlib",
    "imbalanced-learn": "imblearn",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
_REQUIREMENT = re.compile(r"([\w.-]+)\s*([^;]*)(?:;.*extra\s*==\s*[\"']([\w-]+)[\"'])?")
_HUB_SECONDS = 8
_RATE, _FPS, _PITCH = 16_000, 12, 440.0


def examine(*, hub=False):
    """Look at all that skmer needs.

    Parameters
    ----------
    hub : bool, default=False
        Ask whether the hub of models answers.

    Returns
    -------
    found : dict
        Facts, which JSON can hold; ``problems`` are sentences about what is
        essential and fails, ``advice`` about the rest.
    """
    problems, advice = [], []
    core, extras = _requirements()
    found = {
        "skmer": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(core, problems),
        "devices": _devices(problems),
        "decoding": _decoding(problems),
        "cache": _looked_at("The feature cache", problems, lambda: _cache(advice)),
        "data_home": _looked_at(
            "The folder of data", problems, lambda: _folder(get_config()["data_home"])
        ),
        "extras": {name: _extra(name, parts) for name, parts in extras.items()},
        "models": _looked_at(
            "The hub of models", problems, lambda: _models(hub, problems)
        ),
    }
    if not core:
        advice.append(
            "skmer is not installed by pip, so what it requires is not known. Run: "
            "pip install -e . in its folder."
        )
    return {**found, "problems": problems, "advice": advice}


def _looked_at(what, problems, look):
    """Return what there is to see; what lacks a package does not hide the rest."""
    try:
        return look()
    except Exception as error:
        problems.append(f"{what} cannot be looked at ({_line(error)}).")
        return {"error": _line(error)}


def _requirements():
    """Return the requirements of skmer, and those of each extra."""
    core, extras = {}, {}
    try:
        lines = importlib.metadata.requires("skmer") or []
    except importlib.metadata.PackageNotFoundError:
        return core, extras
    for line in lines:
        name, versions, extra = _REQUIREMENT.match(line).groups()
        if extra is None:
            core[name] = versions.strip()
        elif extra != "test":
            extras.setdefault(extra, []).append(name)
    return core, extras


def _version(name):
    """Return the version of a distribution, None where its module is not there."""
    module = _MODULES.get(name, name.replace("-", "_"))
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _packages(core, problems):
    versions = {}
    for name, wanted in core.items():
        found = versions[name] = _version(name)
        if found is None:
            problems.append(
                f'{name} is not installed. Run: pip install "{name}{wanted}"'
            )
        elif found[0].isdigit() and not _fits(found, wanted):
            problems.append(
                f"{name} is version {found}, skmer works with {wanted}. Run: pip "
                f'install "{name}{wanted}"'
            )
    return versions


def _fits(found, wanted):
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        # Comes with others, which may be what is not there
        return True
    return SpecifierSet(wanted).contains(found, prereleases=True)


def _devices(problems):
    try:
        import torch

        from skmer._pretrained import resolve_device

        gpus = [
            {
                "device": f"cuda:{number}",
                "name": torch.cuda.get_device_name(number),
                "gib": round(
                    torch.cuda.get_device_properties(number).total_memory / 2**30, 1
                ),
            }
            for number in range(torch.cuda.device_count())
        ]
        return {
            "gpus": gpus,
            "mps": bool(torch.backends.mps.is_available()),
            "cpu_cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "auto": str(resolve_device("auto")),
        }
    except Exception as error:
        problems.append(f"PyTorch cannot be used ({_line(error)}). Install it anew.")
        return {"error": _line(error)}


def _decoding(problems):
    try:
        return round_trip()
    except Exception as error:
        problems.append(
            f"Video cannot be written and read ({_line(error)}). Run: pip install "
            "--force-reinstall av"
        )
        return {"error": _line(error)}


def round_trip():
    """Write a second of video and sound, read it back, and compare the two.

    Returns
    -------
    facts : dict
        Frames, seconds of sound, time it took, versions.

    Raises
    ------
    ValueError
        If what was read is not what was written.
    """
    import av

    from skmer.media import get_face_detector, read_audio, read_frames, write_clip

    get_face_detector("haar")
    times = np.arange(_RATE) / _RATE
    tone = (0.5 * np.sin(2 * np.pi * _PITCH * times)).astype(np.float32)
    levels = np.linspace(40, 200, _FPS).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (_FPS, 96, 128, 3))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="skmer-doctor-") as folder:
        path = Path(folder, "clip.mp4")
        write_clip(path, frames, tone, fps=_FPS, rate=_RATE)
        sound = read_audio(path, rate=_RATE)
        shown = read_frames(path, n_frames=_FPS).images
    took = time.perf_counter() - start
    if sound is None or abs(len(sound) - _RATE) > _RATE // 5:
        raise ValueError(
            f"{0 if sound is None else len(sound)} of {_RATE} samples came back"
        )
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    pitch = spectrum.argmax() * _RATE / len(sound)
    if abs(pitch - _PITCH) > 5:
        raise ValueError(f"a tone of {_PITCH:.0f} Hz came back as {pitch:.0f} Hz")
    if len(shown) != _FPS:
        raise ValueError(f"{len(shown)} of {_FPS} frames came back")
    seen = np.asarray(shown, dtype=float).mean(axis=(1, 2, 3))
    if np.abs(seen - levels).max() > 10:
        raise ValueError("frames came back in other colours")
    return {
        "frames": len(shown),
        "seconds": len(sound) / _RATE,
        "took": took,
        "pyav": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
    }


def _folder(path):
    from skmer.cache import network_file_system

    path = Path(path)
    # Not by Path, which takes a folder that may not be read for an error
    there = next((p for p in (path, *path.parents) if os.path.exists(p)), path)
    return {
        "path": str(path),
        "exists": os.path.isdir(path),
        "writable": os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK),
        "network": network_file_system(path),
        "free_bytes": shutil.disk_usage(there).free,
    }


def _cache(advice):
    from skmer.cache import open_store

    facts = _folder(get_config()["cache_dir"])
    facts.update(entries=0, bytes=0)
    if facts["exists"]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            info = open_store(facts["path"]).info()
        facts.update(entries=info["entries"], bytes=info["bytes"])
        facts["writable"] = info["writable"]
        advice += [str(warning.message) for warning in told]
    elif not facts["writable"]:
        advice.append(
            f"The feature cache {facts['path']} cannot be made: features are computed "
            "anew each time. Set SKMER_CACHE_DIR to a folder on a local disk."
        )
    return facts


def _extra(name, packages):
    missing = [package for package in packages if _version(package) is None]
    return {
        "there": not missing,
        "packages": packages,
        "missing": missing,
        "install": f'pip install "skmer[{name}]"',
    }


def _models(hub, problems):
    from huggingface_hub import constants

    from skmer._pretrained import is_downloaded

    try:
        used = _models_of_recipes()
    except Exception as error:
        problems.append(f"The recipes cannot be imported ({_line(error)}).")
        used = {}
    return {
        "folder": constants.HF_HUB_CACHE,
        "endpoint": constants.ENDPOINT,
        "offline": bool(constants.HF_HUB_OFFLINE),
        "answers": _answers(constants.ENDPOINT) if hub else None,
        "paper": {
            name: {"there": is_downloaded(name), "recipes": recipes}
            for name, recipes in sorted(used.items())
        },
    }


def _models_of_recipes():
    """Return the hub's models that encoders="paper" takes, and for which recipes."""
    from skmer.recipes import RECIPES

    used = {}
    for name, recipe in RECIPES.items():
        for key, value in recipe.make(encoders="paper").get_params(deep=True).items():
            if key.rpartition("__")[2] == "model" and isinstance(value, str):
                if "/" in value and name not in used.setdefault(value, []):
                    used[value].append(name)
    return used


def _answers(endpoint):
    """Tell whether a server answers soon, if with an error."""
    heard = []

    def ask():
        request = urllib.request.Request(endpoint, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()
            heard.append(True)
        except urllib.error.HTTPError:
            heard.append(True)
        except (OSError, ValueError):
            heard.append(False)

    # The time limit of a request leaves out the look-up of the server's name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_SECONDS + 1)
    return bool(heard and heard[0])


def _line(error):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
