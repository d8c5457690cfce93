"""How requests go out: to whom, with which key, and what may come back."""

import json
import os
import re
from importlib import import_module
from urllib.parse import urlsplit

from skmer.exceptions import EndpointError

OPENAI = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI_HOST = ".openai.com"
_PLAIN = ("", "identity")
# Bytes of the longest answer that is read.
_LONGEST = 2**24
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What keys begin with that could be names.
_KEYS = ("sk_", "gsk_")
# Fields of a request that are not for the user to set, and what they replace.
_TAKEN = {
    "messages": "what is asked, which X, prompt and context say",
    "model": "the parameter model",
    "response_format": "the parameter structured",
    "stream": "how answers are read",
}


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


def check_server(base_url, api_key_env, extra_body):
    """Raise an error where what requests are made of cannot be that."""
    if base_url is not None:
        check_address(base_url)
    check_key_name(api_key_env)
    check_extra_body(extra_body)


def check_key_name(variable):
    """Raise a ValueError where a name of an environment variable is none."""
    if variable is None:
        return
    if not _VARIABLE.fullmatch(variable) or variable.startswith(_KEYS):
        # Not shown: it is a key as a rule.
        raise ValueError(
            "api_key_env is the name of an environment variable, not the key itself. "
            "Put the key into a variable such as MY_API_KEY and give that name."
        )


def check_extra_body(extra_body):
    """Raise an error where fields of a request are none, or others' own."""
    for name in extra_body or ():
        if not isinstance(name, str):
            raise TypeError(
                f"The names of fields in extra_body must be str. Got {name!r}."
            )
        if name in _TAKEN:
            raise ValueError(
                f"{name!r} in extra_body would replace {_TAKEN[name]}. Leave it out."
            )
    try:
        json.dumps(extra_body, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            "extra_body must hold plain values, which JSON has (str, int, float, "
            f"bool, None, list, dict): {error}."
        ) from None


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
        If the address is none, or the variable's name.
    """
    if base_url is not None:
        check_address(base_url)
    check_key_name(variable)
    if variable is None:
        # Never send the key of one company to the server of another.
        variable = _OPENAI_KEY if base_url is None else None
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        # What is in lower case may be a key after all.
        shown = variable if variable.isupper() else "that api_key_env names"
        raise EndpointError(
            f"The environment variable {shown} is to hold the key of "
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
        if response.headers.get("content-encoding", "").lower() not in _PLAIN:
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


def is_refused(error):
    """Tell whether nobody listens where a connection was tried."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None
