"""Which files RAVDESS has, which of them are there, and how to get the others."""

import json
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from tqdm.auto import tqdm

from skmer.datasets._archives import unpack
from skmer.datasets._download import download, file_md5, locked, read_json
from skmer.datasets._folders import has_content, walk
from skmer.exceptions import DataFileError
from skmer.utils._files import written_whole
from skmer.utils._suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

PAGE = "https://zenodo.org/records/1188976"
ACTORS = range(1, 25)
CHANNELS = {"speech": 1, "song": 2}
_N_EMOTIONS = {"speech": 8, "song": 6}
_NO_SONG = {18}
_NEUTRAL = 1
_FILE = re.compile(
    r"0([123])-(0[12]-0[1-8]-0[12]-0[12]-0[12]-(?:[01]\d|2[0-4]))(\.\w+)", re.ASCII
)
_RECORD = "record.json"


@dataclass(frozen=True)
class Archive:
    """One archive of the record.

    Parameters
    ----------
    name : str
        Its file name.
    size : int
        Its bytes.
    md5 : str
        Its checksum.
    url : str
        Where it is.
    """

    name: str
    size: int
    md5: str
    url: str


def trial_names(channels, actors):
    """Return the names of all recordings, sorted.

    Parameters
    ----------
    channels : sequence of str
        Of ``"speech"`` and ``"song"``.
    actors : sequence of int
        Of 1 to 24.

    Returns
    -------
    names : list of str
        Such as ``"01-05-02-01-01-12"``: channel, emotion, intensity, statement,
        repetition, actor.
    """
    names = []
    for channel, actor in product(channels, actors):
        if channel == "song" and actor in _NO_SONG:
            continue
        emotions = range(1, _N_EMOTIONS[channel] + 1)
        for emotion, intensity, statement, repetition in product(
            emotions, (1, 2), (1, 2), (1, 2)
        ):
            if emotion == _NEUTRAL and intensity == 2:
                continue
            fields = (
                CHANNELS[channel],
                emotion,
                intensity,
                statement,
                repetition,
                actor,
            )
            names.append("-".join(f"{field:02d}" for field in fields))
    return sorted(names)


def find_trials(root, modality):
    """Return the files of the data set below a folder, in any depth.

    Parameters
    ----------
    root : Path
        The folder.
    modality : {"audio-video", "video", "audio"}
        Which of the three recordings of a trial.

    Returns
    -------
    found : dict of str to str
        File by name of the trial; of several one that is not sound taken out of a
        video, then the nearest, then WAV.
    """
    found = {}
    for path, depth in walk(root):
        match = _FILE.fullmatch(os.path.basename(path))
        if match is None or not _is_of(modality, match[1], match[3].lower()):
            continue
        taken_out = modality == "audio" and match[1] != "3"
        rank = (taken_out, depth, match[3].lower() != ".wav", path)
        if has_content(path) and rank < found.get(match[2], (2,)):
            found[match[2]] = rank
    return {name: path for name, (*_, path) in found.items()}


def _is_of(modality, number, suffix):
    # Sound that was taken out of a video is sound, whatever its name says
    if suffix in AUDIO_SUFFIXES:
        return modality == "audio"
    numbers = {"audio-video": "1", "video": "2", "audio": "3"}
    return suffix in VIDEO_SUFFIXES and number == numbers[modality]


def archive_names(trials, modality):
    """Return the names of the archives that hold some trials, sorted."""
    names = set()
    for trial in trials:
        channel = "Speech" if trial.startswith("01") else "Song"
        if modality == "audio":
            names.add(f"Audio_{channel}_Actors_01-24.zip")
        else:
            names.add(f"Video_{channel}_Actor_{trial[-2:]}.zip")
    return sorted(names)


def find_archives(names, root, folder):
    """Return which archives are there, where they are looked for.

    Parameters
    ----------
    names : list of str
        Their names.
    root, folder : Path
        Where files are looked for, and the folder below it for what is downloaded.

    Returns
    -------
    found : dict of str to Path
        By name.
    """
    paths = [place / name for place in (root, folder) for name in names]
    return {path.name: path for path in paths if path.is_file()}


def complete(wanted, modality, root, folder, url, patience, verbose):
    """Unpack the archives that lack, downloading those that are not there.

    Parameters
    ----------
    wanted : list of str
        Names of the trials.
    modality : {"audio-video", "video", "audio"}
        Which of their recordings.
    root, folder : Path
        Where files are looked for, and the folder below it for what is downloaded.
    url : str or None
        Address of the record; None: nothing is downloaded.
    patience : Patience
        How often to try again.
    verbose : int or bool
        Whether to show progress bars.

    Raises
    ------
    OSError
        If something cannot be downloaded, unpacked or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        # Another process may have been here meanwhile
        missing = set(wanted) - set(find_trials(root, modality))
        names = archive_names(missing, modality)
        local = find_archives(names, root, folder)
        record = _kept_record(folder, url)
        for path in local.values():
            if record is not None:
                _check(path, record)
            unpack(path, folder / path.stem)
        remote = [name for name in names if name not in local]
        if url is None or not remote:
            return
        with _telling_the_cure(remote, folder):
            record = record or _get_record(folder, url, patience)
            archives = [_of_record(record, name, url) for name in remote]
        _check_space(folder, archives)
        for archive in archives:
            path = folder / archive.name
            with _telling_the_cure(remote, folder):
                _download(archive, path, patience, verbose)
            unpack(path, folder / path.stem)
            path.unlink()


def cure(names, folder):
    """Return how to get archives by other means.

    Parameters
    ----------
    names : list of str
        Their names.
    folder : Path
        Where they belong.

    Returns
    -------
    text : str
    """
    shown = ", ".join(names[:3]) + (f" ... {names[-1]}" if len(names) > 3 else "")
    return (
        f"download {shown} from {PAGE} by other means and put them into {folder}: they "
        "are unpacked there (files that are unpacked already are found in any folder "
        "below)"
    )


@contextmanager
def _telling_the_cure(names, folder):
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            # Of this computer: a full disk, a folder that may not be written
            raise
        raise OSError(
            f"RAVDESS cannot be downloaded: {error}. Call again when the server can "
            "be reached; what has come so far is kept and not downloaded again. Or "
            f"{cure(names, folder)}."
        ) from error


def _download(archive, path, patience, verbose):
    with tqdm(
        total=archive.size,
        desc=archive.name,
        unit="B",
        unit_scale=True,
        disable=not verbose,
    ) as bar:

        def tell(n_bytes):
            bar.update(n_bytes - bar.n)

        download(archive.url, path, archive.size, archive.md5, patience, tell)


def _check(path, record):
    archive = record.get(path.name)
    if archive is None:
        return
    size = path.stat().st_size
    if size != archive.size or file_md5(path) != archive.md5:
        raise DataFileError(
            f"{path} is not the file of that name in the record (it has {size:,} of "
            f"{archive.size:,} bytes, or another checksum). Delete it and call again."
        )


def _check_space(folder, archives):
    sizes = [archive.size for archive in archives]
    # All unpacked, and the last archive
    needed = sum(sizes) + max(sizes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{len(sizes)} archives to be downloaded need {needed / 1e9:.1f} GB in "
            f"{folder}, where {free / 1e9:.1f} GB are free. Give another data_home, or "
            "fewer actors."
        )


def _of_record(record, name, url):
    if name not in record:
        raise OSError(f"the record {url} holds no file {name}")
    return record[name]


def _kept_record(folder, url):
    """Return the list of files that is kept, None if there is none of this record."""
    try:
        kept = json.loads((folder / _RECORD).read_bytes())
        if url is None or kept["source"] == url:
            return _parse(kept["record"], kept["source"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _get_record(folder, url, patience):
    """Download the list of files and keep it."""
    answer = read_json(url, patience)
    record = _parse(answer, url)
    with written_whole(folder / _RECORD, encoding="utf-8") as file:
        json.dump({"source": url, "record": answer}, file)
    return record


def _parse(answer, url):
    """Return the archives of a record by name."""
    try:
        archives = [
            Archive(
                name=str(entry["key"]),
                size=int(entry["size"]),
                md5=entry["checksum"].removeprefix("md5:").lower(),
                url=str(entry["links"]["self"]),
            )
            for entry in answer["files"]
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OSError(
            f"{url} answers with something that is no record of Zenodo (files, each "
            "with key, size, checksum and links)"
        ) from error
    return {archive.name: archive for archive in archives}
