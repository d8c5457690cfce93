"""Where pretrained models lie: local folders, and the hub's cache."""

import os
import re
import threading
import warnings
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from skmer.cache import content_id, file_signature

# What loading reads of a model's folder besides its weights.
_SMALL_FILES = ("*.json", "*.txt", "*.model")
_SAFE_WEIGHTS = "model*.safetensors"
_PICKLED_WEIGHTS = "pytorch_model*.bin"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# The hub's own client tries again and again for most of a minute.
_REACH_SECONDS = 8.0
_noticed = set()
_digests = {}
_lock = threading.Lock()


def find_model(model, revision=None, *, trust_remote_code=False, needs=()):
    """Return the folder that a model is loaded from, downloading it if need be.

    Parameters
    ----------
    model : str or path
        A folder made by ``save_pretrained``, or the id of a model on the hub. What
        the hub's local cache holds is used without asking the network.
    revision : str or None, default=None
        Branch, tag or commit of a hub model.
    trust_remote_code : bool, default=False
        Download the Python files of a hub model as well.
    needs : sequence of str, default=()
        Names of files of which the folder must have one.

    Returns
    -------
    folder : Path
        Holds ``config.json``, weights and a file that is needed.

    Raises
    ------
    OSError
        If there is no such folder or it holds no model, or the model is not in the
        hub's local cache and cannot be downloaded; the message says how to get it.
    """
    folder = _local_folder(model)
    if folder is not None:
        if not _is_complete(folder):
            raise OSError(
                f"{folder} holds no model: it needs config.json and "
                "model.safetensors (or pytorch_model.bin), as save_pretrained "
                "writes them."
            )
        if not _has_any(folder, needs):
            raise OSError(
                f"{folder} lacks {needs[0]}, which says how the model is used. Copy it "
                "from where the model comes from, or save the model's processor "
                "there with save_pretrained."
            )
        return folder
    folder = _in_hub_cache(model, revision)
    if folder is None or not _is_complete(folder):
        folder = _download(model, revision, trust_remote_code)
    elif not _has_any(folder, needs):
        # Whoever filled the cache wanted the weights only.
        folder = _download(model, folder.name, trust_remote_code)
    return folder


def is_downloaded(model, revision=None):
    """Tell whether the hub's local cache holds a model's configuration and weights.

    Parameters
    ----------
    model : str
        Id of a model on the hub.
    revision : str or None, default=None
        Branch, tag or commit.

    Returns
    -------
    there : bool
    """
    folder = _in_hub_cache(model, revision)
    return folder is not None and _is_complete(folder)


def model_identity(model, revision=None, *, trust_remote_code=False):
    """Return what tells apart the models that give different features.

    Parameters
    ----------
    model, revision, trust_remote_code
        As for :func:`find_model`.

    Returns
    -------
    identity : str
        Id and commit of a hub model; the digest of the configuration and weights of
        a folder, wherever it lies, read once per process and again when a file's
        size or time changes.

    Raises
    ------
    OSError
        As :func:`find_model`.
    """
    folder = _local_folder(model)
    if folder is None:
        if revision is not None and _COMMIT.fullmatch(revision):
            return f"{model}@{revision}"
        folder = find_model(model, revision, trust_remote_code=trust_remote_code)
        # The hub's cache names the folder of a snapshot by its commit.
        return f"{model}@{folder.name}"
    folder = find_model(folder)
    names = {path.name for pattern in _SMALL_FILES for path in folder.glob(pattern)}
    names |= {path.name for path in weight_files(folder)}
    if trust_remote_code:
        names |= {path.name for path in folder.glob("*.py")}
    digest = blake2b(digest_size=16)
    for name in sorted(names):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(_file_digest(folder / name))
    return f"folder:{digest.hexdigest()}"


def weight_files(folder):
    """Return the weight files that are loaded, safetensors before pickles."""
    return sorted(folder.glob(_SAFE_WEIGHTS)) or sorted(folder.glob(_PICKLED_WEIGHTS))


def has_safe_weights(folder):
    """Tell whether weights are safetensors; notice once per folder if not."""
    if any(folder.glob(_SAFE_WEIGHTS)):
        return True
    with _lock:
        known = folder in _noticed
        _noticed.add(folder)
    if not known:
        warnings.warn(
            f"{folder} has its weights in a pickle (pytorch_model.bin) only. It is "
            "read with weights_only=True, which runs no code from it.",
            UserWarning,
            stacklevel=2,
        )
    return False


def _local_folder(model):
    """Return the folder that model names, None where it is an id on the hub."""
    text = os.fspath(model)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder.resolve()
    is_id = isinstance(model, str) and _HUB_ID.fullmatch(text) and text.strip(".")
    if is_id and not text.startswith("."):
        return None
    raise OSError(
        f"There is no folder {text!r}, and it is no id of a model on the hub "
        "('owner/name') either. Check the path."
    )


def _is_complete(folder):
    if not (folder / "config.json").is_file():
        return False
    for pattern in ("model*.index.json", "pytorch_model*.index.json"):
        for index in folder.glob(pattern):
            shards = set(re.findall(r'"([^"/\\]+\.(?:safetensors|bin))"', _text(index)))
            if shards and all((folder / shard).is_file() for shard in shards):
                return True
    single = ("model.safetensors", "pytorch_model.bin")
    return any((folder / name).is_file() for name in single)


def _has_any(folder, names):
    return not names or any((folder / name).is_file() for name in names)


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def _file_digest(path):
    signature = file_signature(path)
    with _lock:
        known = _digests.get(path)
    if known is None or known[0] != signature:
        known = signature, content_id(path)
        with _lock:
            _digests[path] = known
    return known[1]


def _in_hub_cache(model, revision):
    from huggingface_hub import try_to_load_from_cache

    # Not snapshot_download, which wants every file that the hub has.
    found = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _download(model, revision, trust_remote_code):
    from huggingface_hub import HfApi, constants, snapshot_download

    # transformers reads the switch when it is imported; it may be set later too.
    switch = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
    if constants.HF_HUB_OFFLINE or switch:
        raise OSError(
            _advice(model, revision, "HF_HUB_OFFLINE is set and it is not there")
        )
    try:
        _reach(constants.ENDPOINT)
    except Exception as error:
        reason = f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        raise OSError(_advice(model, revision, reason)) from error
    try:
        info = HfApi().model_info(model, revision=revision, timeout=_REACH_SECONDS)
        names = [entry.rfilename for entry in info.siblings]
        safe = any(Path(n).match(_SAFE_WEIGHTS) and "/" not in n for n in names)
        wanted = [*_SMALL_FILES, _SAFE_WEIGHTS if safe else _PICKLED_WEIGHTS]
        if trust_remote_code:
            wanted.append("*.py")
        folder = snapshot_download(model, revision=info.sha, allow_patterns=wanted)
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = f"the download failed: {cause}"
        raise OSError(_advice(model, revision, reason)) from error
    folder = Path(folder)
    if not _is_complete(folder):
        raise OSError(
            _advice(model, revision, "the hub has no config.json and weights of it")
        )
    _note_reference(folder, revision)
    return folder


def _reach(address):
    """Raise an error unless a server answers soon."""
    from huggingface_hub import get_session

    session, errors = get_session(), []

    def ask():
        try:
            session.head(address, timeout=_REACH_SECONDS)
        except Exception as error:
            errors.append(error)

    # The time limit of a request leaves out the look-up of the server's name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_SECONDS + 1)
    if thread.is_alive():
        raise TimeoutError
    if errors:
        raise errors[0]


def _note_reference(folder, revision):
    """Let a branch or tag be found in the hub's cache without the network."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return
    reference = folder.parents[1] / "refs" / (revision or "main")
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(folder.name)


def _advice(model, revision, reason):
    option = "" if revision is None else f" --revision {revision}"
    return (
        f"There is no folder {model!r} in {os.getcwd()}, the model of that name is not "
        f"in the local cache of the hub, and {reason}. "
        f"Where there is a network, run: hf download {model}{option} "
        "(huggingface-cli download in older versions), copy the folder it prints "
        "here and give its path instead of the name; or copy the whole hub cache "
        "(HF_HOME) and set HF_HUB_OFFLINE=1."
    )


@lru_cache(maxsize=1)
def quiet_transformers():
    """Return transformers, without its progress bars."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers
