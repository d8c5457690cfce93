"""The folder of a model: written whole or not at all, read within bounds."""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import uuid
from hashlib import blake2b
from pathlib import Path

from skmer.exceptions import ModelFormatError

FORMAT = 1
_KIND = "skmer model"
_MANIFEST = "manifest.json"
_MOST_MANIFEST = 16 * 2**20
# The names that a manifest may list: nothing with a folder in it.
_NAME = re.compile(
    r"(estimator\.skops|tensors\.safetensors|net-\d{1,6}\.safetensors)\Z"
)
# Flags that only some systems have: do not follow links, do not wait for a pipe.
_SAFELY = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


@contextlib.contextmanager
def new_folder(folder, overwrite):
    """Make a folder that takes its name only when all is in it.

    Parameters
    ----------
    folder : Path
        The name.
    overwrite : bool
        Whether it may take the place of another model.

    Yields
    ------
    part : Path
        Where to write; gone if an error comes out of the block.
    """
    folder = folder.absolute()
    _check_place(folder, overwrite)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    part.mkdir()
    try:
        yield part
        _flush_folder(part)
        _check_place(folder, overwrite)
        if os.path.lexists(folder):
            old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
            os.rename(folder, old)
            os.rename(part, folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(part, folder)
        _flush_folder(folder.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _check_place(folder, overwrite):
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {folder.parent} does not exist, so {folder.name} cannot be "
            "made in it. Make it first."
        )
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise FileExistsError(
            f"{folder} exists. Choose another name, or pass overwrite=True to put the "
            "model in its place."
        )
    # Not somebody's folder of clips.
    if folder.is_symlink() or not folder.is_dir() or not _is_model(folder):
        raise FileExistsError(
            f"{folder} is no saved model, so overwrite=True does not replace it. "
            "Choose another name."
        )


def _is_model(folder):
    try:
        return read_manifest(folder)["kind"] == _KIND
    except (ModelFormatError, OSError):
        return False


def write_files(part, files, facts):
    """Write files and the manifest that tells their sizes and digests.

    Parameters
    ----------
    part : Path
        The folder.
    files : dict of str to bytes
        What is in them.
    facts : dict of str to object
        What else the manifest tells, as JSON.
    """
    listed = {
        name: {"size": len(data), "blake2b": _digest(data)}
        for name, data in files.items()
    }
    manifest = {"kind": _KIND, "format": FORMAT, **facts, "files": listed}
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    for name, data in [*files.items(), (_MANIFEST, text.encode())]:
        with open(part / name, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def read_manifest(folder):
    """Read and check the manifest of a model.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    manifest : dict
        Its ``"files"`` are names that lie in the folder itself.

    Raises
    ------
    ModelFormatError
        If it is damaged or of a later version of skmer.
    FileNotFoundError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    try:
        data = _read(folder / _MANIFEST, _MOST_MANIFEST)
    except FileNotFoundError:
        raise ModelFormatError(
            f"{folder} has no {_MANIFEST}: it is no folder of save_model, or only part "
            "of one. Models in pickles (joblib) are not loaded: whoever made such a "
            "file can run any code."
        ) from None
    try:
        manifest = json.loads(data)
        kind, version, files = (manifest[key] for key in ("kind", "format", "files"))
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _damaged(folder / _MANIFEST, "it is no manifest") from None
    if kind != _KIND:
        raise _damaged(folder / _MANIFEST, f"it is of kind {kind!r}")
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ModelFormatError(
            f"{folder} has format {version!r}, this version of skmer reads up to "
            f"{FORMAT}. Update skmer."
        )
    if not isinstance(files, dict) or "estimator.skops" not in files:
        raise _damaged(folder / _MANIFEST, "it lists no estimator.skops")
    for name, facts in files.items():
        if not _NAME.match(name):
            raise _damaged(folder / _MANIFEST, f"it lists a file {name!r}")
        size = facts.get("size") if isinstance(facts, dict) else None
        if type(size) is not int or size < 0:
            raise _damaged(folder / _MANIFEST, f"it has no size of {name}")
    return manifest


def read_files(folder, manifest):
    """Read the files of a model, held to the manifest.

    Parameters
    ----------
    folder : Path
        The folder.
    manifest : dict
        From :func:`read_manifest`.

    Returns
    -------
    files : dict of str to bytes
        By name.

    Raises
    ------
    ModelFormatError
        If one is absent, of another size or with another digest.
    """
    files = {}
    for name, facts in manifest["files"].items():
        path = folder / name
        try:
            data = _read(path, facts["size"])
        except FileNotFoundError:
            raise _damaged(path, "it is not there") from None
        if len(data) != facts["size"]:
            raise _damaged(
                path, f"it has {len(data)} bytes, and the manifest {facts['size']}"
            )
        if _digest(data) != facts.get("blake2b"):
            raise _damaged(path, "its digest is not the manifest's")
        files[name] = data
    return files


def _read(path, most):
    """Return the bytes of a plain file, one more than the most at the most."""
    try:
        handle = os.open(path, _SAFELY)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise _damaged(path, "it is a link") from None
        raise
    with open(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or Path(path).is_symlink():
            raise _damaged(path, "it is no plain file")
        if facts.st_size > most:
            raise _damaged(
                path, f"it has {facts.st_size} bytes, and may have {most} at the most"
            )
        return file.read(most + 1)


def _digest(data):
    return blake2b(data, digest_size=32).hexdigest()


def _damaged(path, reason):
    return ModelFormatError(
        f"{path} is damaged or was changed: {reason}. Copy the folder again, whole, "
        "from where the model was saved."
    )


def _flush_folder(folder):
    """Have names written to the disk, where the system lets one."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
