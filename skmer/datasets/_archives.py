"""Unpack archives from elsewhere without harm."""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import PurePosixPath

from skmer.exceptions import DataFileError

# What reading a zip file raises that is damaged, or packed in a way that is not known
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
# Sound packs to a half, video hardly; a bomb to a thousandth
_MOST_UNPACKED = 50
_SPARED = 2**20


def unpack(archive, folder):
    """Unpack a zip file.

    Into a hidden folder first, which takes its name when all is in it; files that
    are there already are kept.

    Parameters
    ----------
    archive : Path
        The zip file.
    folder : Path
        Folder to make, or to complete.

    Raises
    ------
    DataFileError
        If it is no zip file, is damaged, or holds what would be written elsewhere.
    OSError
        If it cannot be written.
    """
    temporary = folder.with_name(f".unpack-{folder.name}")
    if temporary.exists():
        # Of a process that was killed
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        try:
            with zipfile.ZipFile(archive) as file:
                for member in _members(archive, file):
                    target = temporary / member.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with file.open(member) as source, open(target, "wb") as copy:
                        shutil.copyfileobj(source, copy, 2**20)
        except DAMAGE as error:
            raise DataFileError(
                f"{archive} cannot be unpacked: {error}. Delete it and get it again."
            ) from error
        _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary, folder):
    if not folder.exists():
        os.replace(temporary, folder)
        return
    for path in sorted(temporary.rglob("*")):
        target = folder / path.relative_to(temporary)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif not (target.is_file() and target.stat().st_size == path.stat().st_size):
            os.replace(path, target)


def _members(archive, file):
    """Return the files to unpack; refuse the archive if one is not harmless."""
    members, total = [], 0
    for member in file.infolist():
        name = member.filename
        parts = PurePosixPath(name).parts
        # Unix permissions stand in the upper half, and 0 without them
        kind = stat.S_IFMT(member.external_attr >> 16)
        if (
            not parts
            or name.startswith("/")
            or ".." in parts
            or "\\" in member.orig_filename
            or ":" in name
            or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
        ):
            raise DataFileError(
                f"{archive} holds {name!r}, which is no plain file below the folder it "
                "is unpacked to. Nothing was unpacked: do not use this archive."
            )
        total += member.file_size
        if not member.is_dir() and parts[0] != "__MACOSX":
            members.append(member)
    if total > _MOST_UNPACKED * archive.stat().st_size + _SPARED:
        raise DataFileError(
            f"{archive} would unpack to {total:,} bytes, far more than it can hold. "
            "Nothing was unpacked: do not use this archive."
        )
    return members
