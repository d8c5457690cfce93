"""How requests go out: to whom, with which key, and what may come back."""

import os
from importlib import import_module
from urllib.parse import urlsplit

from skmer.exceptions import EndpointError

OPENAI = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI_HOST = ".openai.com"
# Bytes of the longest answer that is read.
_LONGEST = 2**24


class UnusableAnswerError(Exception):
    """An answer that is not read, whatever it says."""


def check_address(base_url):
    """Raise a ValueError where a server's address is none, or holds a password."""
    try:
        parts = urlsplit(base_url)
        known = parts.scheme in ("http", "https") and parts.hostname
        known = known and parts.port != 0
    except ValueError:
        # Of a port or of brackets
        known = False
    if not known or not base_url.isprintable() or " " in base_url:
        raise ValueError(
            f"base_url={base_url.rpartition('@')[2]!r} is no address of a server. Give "
            "it with its scheme and path, such as 'http://localhost:8000/v1'."
        )
    if parts.username is not None or parts.password is not None or parts.query:
        raise ValueError(
            "base_url holds a name, a password or a query, which would be shown "
            "wherever the estimator is. Put the key into an environment variable and "
            "name that by api_key_env."
        )


def read_key(base_url, variable):
    """Return the key of a server, None where it takes none.

    Parameters
    ----------
    base_url : str or None
        Address of the server; None is OpenAI's.
    variable : str or None
        Environment variable that holds the key.

    Returns
    -------
    key : str or None

    Raises
    ------
    EndpointError
        If it is not set, or no key.
    ValueError
        If the address is none.
    """
    if base_url is not None:
        check_address(base_url)
    if variable is None:
        # Never send the key of one company to the server of another.
        variable = _OPENAI_KEY if base_url is None else None
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EndpointError(
            f"The environment variable {variable} is to hold the key of "
            f"{base_url or OPENAI} and is not set. Set it, name another by "
            "api_key_env, or give base_url of a server that takes no key."
        )
    if not (key.isascii() and key.isprintable()):
        # Said here, since the error that would come later shows it.
        raise EndpointError(
            f"The environment variable {variable} holds characters that no key has. "
            "Set it to the key alone."
        )
    return key


def make_client(openai, base_url, key, timeout):
    """Return the client of a server, a context manager.

    It goes nowhere but to that server, which gets no one else's names, and reads so
    much of an answer and no more.

    Parameters
    ----------
    openai : module
        The package.
    base_url : str
        Address of the server.
    key : str or None
        None where it takes none.
    timeout : float
        Seconds until the connection stands, and between two pieces of an answer.

    Returns
    -------
    client : openai.AsyncOpenAI
    """
    # What openai is built on: httpx, in later versions its successor.
    package = openai.DefaultAsyncHttpxClient.__base__.__module__.partition(".")[0]
    httpx = import_module(package)

    class Bounded(httpx.AsyncByteStream):
        """A body that breaks off where it is too long."""

        def __init__(self, stream):
            self.stream = stream

        async def __aiter__(self):
            n_bytes = 0
            async for piece in self.stream:
                n_bytes += len(piece)
                if n_bytes > _LONGEST:
                    raise UnusableAnswerError(
                        f"its answer is longer than {_LONGEST >> 20} MB"
                    )
                yield piece

        async def aclose(self):
            await self.stream.aclose()

    async def bound(response):
        if response.headers.get("content-encoding", "identity") != "identity":
            # A few kilobytes can unfold to gigabytes.
            raise UnusableAnswerError("it compresses answers though asked not to")
        response.stream = Bounded(response.stream)
        # Not by what it calls itself, which may be no text at all.
        response.encoding = "utf-8"

    client = openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=base_url,
        max_retries=0,
        default_headers={"accept-encoding": "identity"},
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            follow_redirects=False,
            event_hooks={"response": [bound]},
        ),
    )
    host = f".{urlsplit(base_url).hostname}"
    if not host.endswith(_OPENAI_HOST):
        # Read from the environment; they are for OpenAI alone.
        client.organization = client.project = None
    return client
