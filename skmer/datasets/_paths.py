"""Paths that a table of clips writes, and the files they mean."""

import difflib
import os
import re
from functools import cached_property

from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# How many folders above root are looked into for a hint
_N_ABOVE = 3
# How many files below it
_N_BELOW = 50_000


class Root:
    """The folder that paths of a table are relative to.

    Parameters
    ----------
    folder : str or PathLike
        The folder.
    allow_absolute : bool
        Whether paths may leave it.
    """

    def __init__(self, folder, allow_absolute):
        self.folder = os.path.abspath(folder)
        self.allow_absolute = allow_absolute
        self._listings = {}

    def resolve(self, written):
        """Return the file that a path means, and the path by which it is known.

        Parameters
        ----------
        written : str
            Path as the table has it, not empty.

        Returns
        -------
        path : str
            Absolute.
        name : str
            Relative to the folder, with ``/`` between its parts: the same however
            and wherever it was written. Absolute outside of the folder.

        Raises
        ------
        ValueError
            If it may not be used; the message says why and what to do.
        """
        if "\0" in written:
            raise ValueError(f"the path {written!r} holds a zero byte. Write it anew.")
        if os.name != "nt":
            if _DRIVE.match(written):
                raise ValueError(
                    f"{written!r} is a path of a Windows computer. Write paths "
                    "relative to the folder of the clips, such as clips/a.mp4."
                )
            as_is = os.path.join(self.folder, written)
            if "\\" in written and not os.path.lexists(as_is):
                written = written.replace("\\", "/")
        # Without the parts "..": what is checked here is what is opened later
        path = os.path.normpath(os.path.join(self.folder, written))
        name = self._relative(path)
        if name is not None:
            return os.path.join(self.folder, name), name.replace(os.sep, "/")
        if not self.allow_absolute:
            raise ValueError(
                f"{written!r} lies outside of {self.folder}. Write it relative to that "
                "folder, pass the folder that holds all clips as root, or "
                "allow_absolute=True if files anywhere may be read."
            )
        return path, path.replace(os.sep, "/")

    def why_missing(self, path, written):
        """Return what is wrong with a path that is no file, and what to do.

        Parameters
        ----------
        path, written : str
            From :meth:`resolve`, and as the table has it.

        Returns
        -------
        text : str
        """
        if os.path.isdir(path):
            return f"{written!r} is a folder. A row is one clip: write one row a file."
        found = f"there is no file {written!r} (looked for {path})."
        near = self._nearest(path)
        if near is not None:
            near = os.path.join(os.path.dirname(written), near)
            return f"{found} Did you mean {near!r}?"
        for folder in self._above:
            if os.path.isfile(os.path.join(folder, written)):
                return f"{found} It is there below {folder}: pass root={folder!r}."
        below = self._below.get(os.path.basename(path))
        if below is not None:
            return (
                f"{found} There is {below!r}: write that, or pass root="
                f"{os.path.join(self.folder, os.path.dirname(below))!r}."
            )
        return (
            f"{found} Correct the path, delete the row, or pass the folder that the "
            "paths start from as root."
        )

    def _relative(self, path):
        for prefix in self._names:
            if os.path.normcase(path).startswith(os.path.normcase(prefix)):
                return path[len(prefix) :]
        return None

    @cached_property
    def _names(self):
        """The folder, and where it really is: absolute paths may say either."""
        folders = dict.fromkeys([self.folder, os.path.realpath(self.folder)])
        return [os.path.join(folder, "") for folder in folders]

    @cached_property
    def _above(self):
        folders, folder = [os.getcwd()], self.folder
        for _ in range(_N_ABOVE):
            folder = os.path.dirname(folder)
            folders.append(folder)
        return folders

    @cached_property
    def _below(self):
        """Paths of files below the folder, by name."""
        found, n_seen = {}, 0
        for folder, _, files in os.walk(self.folder):
            for file in files:
                path = os.path.join(folder, file)
                found.setdefault(file, os.path.relpath(path, self.folder))
            n_seen += len(files) + 1
            if n_seen > _N_BELOW:
                break
        return found

    def _nearest(self, path):
        folder, name = os.path.split(path)
        if folder not in self._listings:
            try:
                self._listings[folder] = sorted(os.listdir(folder))
            except OSError:
                self._listings[folder] = []
        files = [file for file in self._listings[folder] if _is_media(file)]
        stem = os.path.splitext(name)[0].casefold()
        same = [f for f in files if os.path.splitext(f)[0].casefold() == stem]
        near = same or difflib.get_close_matches(name, files, n=1, cutoff=0.8)
        return near[0] if near else None


def is_sound(path):
    """Return whether a path has the suffix of a sound file."""
    return os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES


def _is_media(path):
    return is_sound(path) or os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES
