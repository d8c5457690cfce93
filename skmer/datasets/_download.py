"""Download files that a server gives size and checksum of, going on after a stop."""

import email.utils
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from skmer._version import __version__

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TIMEOUT = 30
_BLOCK = 2**18
_LONGEST_WAIT = 300
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_NOTHING = {"etag": None, "md5": None}


@dataclass(frozen=True)
class Patience:
    """How often and after how long to try again.

    Parameters
    ----------
    n_retries : int
        Attempts after the first one that may fail in a row without a byte received.
    delay : float
        Seconds before the first of them; doubled for each further one, unless the
        server says how long to wait.
    """

    n_retries: int
    delay: float

    def attempts(self):
        """Yield what is called with each failure: it waits, or raises."""
        failures = 0

        def failed(error, progress):
            nonlocal failures
            failures = 1 if progress else failures + 1
            if failures > self.n_retries:
                raise OSError(str(error)) from error
            wait = (
                self.delay * 2 ** (failures - 1) if error.wait is None else error.wait
            )
            time.sleep(min(wait, _LONGEST_WAIT))

        while True:
            yield failed


class _Again(Exception):
    """An attempt failed and another may not."""

    def __init__(self, reason, wait=None):
        super().__init__(reason)
        self.wait = wait


def read_json(url, patience, max_bytes=2**24):
    """Return what a server answers.

    Parameters
    ----------
    url : str
        Address, ``http`` or ``https``.
    patience : Patience
        How often to try again.
    max_bytes : int, default=16777216
        A longer answer is an error.

    Returns
    -------
    answer : object

    Raises
    ------
    OSError
        If the server cannot be reached or its answer is no JSON.
    """
    for failed in patience.attempts():
        try:
            with _open(url, {}) as response:
                data = _read(response, max_bytes + 1)
            break
        except _Again as error:
            failed(error, progress=False)
    if len(data) > max_bytes:
        raise OSError(f"{url} answers with more than {max_bytes} bytes")
    try:
        return json.loads(data)
    except ValueError as error:
        raise OSError(f"{url} answers with something that is no JSON") from error


def download(url, path, size, md5, patience, tell):
    """Download a file, or the rest of it.

    What has come so far is kept as ``<path>.part``, so that a call that was
    interrupted, by whatever, goes on there. The file appears under its name when it
    is whole and has the right checksum.

    Parameters
    ----------
    url : str
        Address, ``http`` or ``https``.
    path : Path
        File to write.
    size : int
        Its bytes.
    md5 : str
        Its checksum.
    patience : Patience
        How often to try again.
    tell : callable
        Called with the number of bytes that are there, again and again.

    Raises
    ------
    OSError
        If the server gives up, the file has another size or checksum, or it cannot
        be written.
    """
    part = path.with_name(f"{path.name}.part")
    facts = path.with_name(f"{path.name}.part.json")
    known = _read_facts(facts)
    if known["md5"] != md5:
        # Of another version of the file
        part.unlink(missing_ok=True)
        known = _NOTHING
    fresh = not part.exists()
    for failed in patience.attempts():
        before = part.stat().st_size if part.exists() else 0
        try:
            if before != size:
                _receive(url, part, facts, known, size, md5, tell)
        except _Again as error:
            known = _read_facts(facts)
            now = part.stat().st_size if part.exists() else 0
            failed(error, progress=now > before)
            continue
        found = file_md5(part)
        if found == md5:
            break
        part.unlink()
        facts.unlink(missing_ok=True)
        if fresh:
            raise OSError(
                f"{url} has the checksum {found}, not {md5} as the list of files says. "
                "What came is damaged or not that file, and was deleted"
            )
        # What was there before may have been damaged: once more from the beginning
        fresh, known = True, _NOTHING
    os.replace(part, path)
    facts.unlink(missing_ok=True)


def _receive(url, part, facts, known, size, md5, tell):
    """Append what a server sends to the part."""
    have = part.stat().st_size if part.exists() else 0
    headers = {}
    if 0 < have < size:
        headers["Range"] = f"bytes={have}-"
        # Weak tags cannot be asked for; the sizes and the checksum have to tell
        if known["etag"] and not known["etag"].startswith("W/"):
            headers["If-Range"] = known["etag"]
    with _open(url, headers) as response:
        etag = response.headers.get("ETag")
        if response.status == 206:
            begin = f"bytes {have}-{size - 1}/{size}"
            if response.headers.get("Content-Range") != begin or (
                known["etag"] and etag and etag != known["etag"]
            ):
                part.unlink()
                raise _Again("the file changed on the server", wait=0)
        else:
            have = 0
        announced = response.headers.get("Content-Length")
        if have == 0 and announced is not None and announced != str(size):
            raise OSError(
                f"{url} is of {announced} bytes, not {size} as the list of files says"
            )
        if have == 0:
            part.unlink(missing_ok=True)
        facts.write_text(json.dumps({"etag": etag, "md5": md5}))
        with open(part, "ab") as file:
            while have <= size:
                block = _read(response, _BLOCK)
                if not block:
                    break
                file.write(block)
                file.flush()
                have += len(block)
                tell(min(have, size))
    if have > size:
        part.unlink()
        raise OSError(f"{url} sends more than the {size} bytes that it should have")
    if have < size:
        raise _Again(f"{url}: the connection ended after {have} of {size} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        allowed = {"https", urlsplit(req.full_url).scheme}
        if urlsplit(newurl).scheme not in allowed:
            raise OSError(f"{req.full_url} leads to {newurl}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url, headers):
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(f"An address must begin with https://. Got {url!r}.")
    headers = {
        "User-Agent": f"skmer/{__version__}",
        "Accept-Encoding": "identity",
        **headers,
    }
    request = urllib.request.Request(url, headers=headers)
    try:
        opener = urllib.request.build_opener(_Redirects)
        return opener.open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                raise _Again(f"{url} has no such part", wait=0) from None
            reason = f"{url} answers {error.code} {error.reason}"
            if error.code not in _TEMPORARY:
                raise OSError(reason) from None
            raise _Again(reason, _retry_after(error.headers)) from None
    except urllib.error.URLError as error:
        raise _Again(f"{url} cannot be reached ({error.reason})") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Again(f"{url}: {error or type(error).__name__}") from None


def _read(response, size):
    try:
        return response.read(size)
    except (http.client.HTTPException, OSError) as error:
        raise _Again(f"{response.url}: {error or type(error).__name__}") from None


def _retry_after(headers):
    """Return the seconds that a server asks to wait, None if it does not say."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(moment.timestamp() - time.time(), 0.0)


def _read_facts(path):
    try:
        facts = json.loads(path.read_bytes())
        return {"etag": facts["etag"], "md5": facts["md5"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return _NOTHING


def file_md5(path):
    """Return the MD5 checksum of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5():
    # Guards against accidents only, so that it may be used where MD5 is banned
    return hashlib.md5(usedforsecurity=False)


@contextmanager
def locked(path):
    """Let one process at a time run a block; the lock goes when its process dies.

    Parameters
    ----------
    path : Path
        File to lock, made where it is absent. Without effect on Windows.

    Yields
    ------
    None
    """
    with open(path, "ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
