"""Language models behind the OpenAI interface: many requests at once, each until done.

Knows nothing of clips: messages go in, what the model wrote comes out.
"""

import asyncio
import json
import queue
import random
import threading
from dataclasses import dataclass

from skmer.enrichment._endpoint_answers import as_count, error_message
from skmer.enrichment._endpoint_client import (
    OPENAI,
    UnusableAnswerError,
    is_refused,
    make_client,
    read_key,
)
from skmer.enrichment._endpoint_limits import (
    LONGEST_WAIT,
    backoff,
    reset_wait,
    stated_wait,
)
from skmer.exceptions import EndpointError
from skmer.utils import import_optional

STRUCTURED = ("auto", "json_schema", "json_object", "none")
# What a server answers to a response_format that it does not know.
_REFUSALS = frozenset({400, 415, 422, 501})
_TRY_AGAIN = frozenset({408, 409, 425, 429})
# Seconds between looks at whether anybody still waits.
_TICK = 0.1
# A key shorter than this is a word that may stand in an answer by chance.
_SHORTEST_KEY = 8


@dataclass(frozen=True)
class Reply:
    """What a model wrote.

    Parameters
    ----------
    content : str
        The answer; empty where there is none.
    finish : str
        Why it ended: ``"stop"``, ``"length"``, ``"content_filter"``, ``"refusal"``...
    prompt_tokens, completion_tokens : int or None
        As the server counts them; None where it does not.
    """

    content: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Endpoint:
    """A model on a server, and how it is asked.

    Parameters
    ----------
    model : str
        Name of the model on the server.
    owner : str
        Name of the estimator, for messages.
    base_url : str or None
        Address of the server, up to ``/v1``; None is OpenAI's.
    api_key_env : str or None
        Environment variable that holds the key. None is ``OPENAI_API_KEY`` for
        OpenAI's own server, and no key for others.
    structured : {"auto", "json_schema", "json_object", "none"}
        How the form of the answer is asked for. ``"auto"`` is ``"json_schema"``,
        and ``"none"`` from the first time on that a server refuses that.
    options : dict
        Further arguments of a request.
    concurrency : int
        Requests at once.
    max_retries : int
        How often a request is repeated that failed for a passing reason.
    timeout : float
        Seconds that one try may take.
    """

    def __init__(
        self,
        model,
        *,
        owner,
        base_url,
        api_key_env,
        structured,
        options,
        concurrency,
        max_retries,
        timeout,
    ):
        self.model = model
        self.owner = owner
        self.base_url = OPENAI if base_url is None else base_url
        self.key = read_key(base_url, api_key_env)
        self.structured = structured
        self.options = options
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.openai = import_optional("openai", owner)

    def ask(self, n_jobs, messages, schema, stop, late):
        """Ask the model many things.

        Closing the generator, or an exception such as Ctrl-C, breaks off what is
        under way.

        Parameters
        ----------
        n_jobs : int
            Number of requests.
        messages : callable
            Makes the messages of a request, a list of dict, of its number. Called
            in threads.
        schema : dict
            JSON schema of the answers, an object.
        stop : callable
            Tells whether to begin no request more.
        late : list
            When the generator is closed it gets the (number, reply) of what has
            arrived and was not yielded.

        Yields
        ------
        numbers : list of int
            Which requests, in any order, each once; fewer than all after ``stop``.
        replies : list of (Reply or Exception)
            What the model wrote, an EndpointError where nothing came after all
            tries, or what ``messages`` raised as a ValueError, OSError or
            MemoryError.

        Raises
        ------
        EndpointError
            If the server cannot be used at all: not reached, key or model refused,
            credit used up.
        """
        run = _Run(self, n_jobs, messages, schema, stop)
        run.thread.start()
        try:
            yield from run.results()
        finally:
            run.cancel()
            late += run.rest()

    def where(self):
        """Return the server and the model, for messages."""
        return f"{self.base_url} (model {self.model!r})"

    def hide_key(self, text):
        """Return a text of the server without the key, which some repeat."""
        if self.key is None or len(self.key) < _SHORTEST_KEY:
            return text
        return text.replace(self.key, "***")


class _Trouble(Exception):
    """Why a try gave no answer.

    Parameters
    ----------
    reason : str
        What happened.
    status : int or None
        Of HTTP; None where no answer came.
    again : bool
        Whether another try may help.
    limited : bool
        Whether the server asks for fewer requests.
    wait : float or None
        Seconds that the server asks to wait.
    fatal : bool
        Whether no request will be answered.
    unreached : bool
        Whether there was no connection.
    refused : bool
        Whether nobody listens at the address.
    """

    def __init__(
        self,
        reason,
        *,
        status=None,
        again=False,
        limited=False,
        wait=None,
        fatal=False,
        unreached=False,
        refused=False,
    ):
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.again = again
        self.limited = limited
        self.wait = wait
        self.fatal = fatal
        self.unreached = unreached
        self.refused = refused


class _Run:
    """One call of :meth:`Endpoint.ask`.

    All requests run on one event loop in a thread of its own: their state needs no
    locks, and breaking off a request closes its connection, so that the server
    stops writing.
    """

    def __init__(self, endpoint, n_jobs, messages, schema, stop):
        self.endpoint = endpoint
        self.n_jobs = n_jobs
        self.messages = messages
        self.schema = schema
        self.stop = stop
        auto = endpoint.structured == "auto"
        self.form = "json_schema" if auto else endpoint.structured
        # Whether a refusal may be one of the form
        self.in_doubt = auto
        self.n_answered = 0
        self.not_before = 0.0
        self.rng = random.Random()
        self.done = queue.SimpleQueue()
        self.ended = False
        self.started = threading.Event()
        self.loop = self.task = self.room = None
        self.thread = threading.Thread(
            target=self._run, name="skmer-endpoint", daemon=True
        )

    # In the caller's thread

    def results(self):
        """Yield what is done until all is, as much at a time as there is."""
        while not self.ended:
            try:
                # Windows lets Ctrl-C through only between waits.
                items = [self.done.get(timeout=_TICK)]
            except queue.Empty:
                continue
            items += self._arrived()
            number, error = items[-1]
            if number is None:
                self.ended = True
                items.pop()
            if items:
                numbers, replies = zip(*items, strict=True)
                yield list(numbers), list(replies)
                # Whoever took them has stored them now.
                self._call(self._make_room, len(numbers))
            if number is None and error is not None:
                raise error

    def _arrived(self):
        items = []
        while not self.done.empty():
            items.append(self.done.get())
        return items

    def rest(self):
        """Return what arrived and was not yielded, once all has ended."""
        return [item for item in self._arrived() if item[0] is not None]

    def cancel(self):
        """Break off what is under way and wait until it has ended."""
        self.started.wait()
        if self.task is not None:
            self._call(self.task.cancel)
        self.thread.join()

    def _call(self, function, *args):
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop is closed: all has ended.
            pass

    # In the thread of the requests

    def _run(self):
        end = None
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            end = group.exceptions[0]
        except BaseException as error:
            end = error
        finally:
            self.started.set()
            self.done.put((None, end))

    async def _main(self):
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        endpoint = self.endpoint
        # Requests under way and answers that nobody has taken yet: no more than so
        # many are lost where the process is killed.
        self.room = asyncio.Semaphore(2 * endpoint.concurrency)
        self.started.set()
        numbers = iter(range(self.n_jobs))
        async with (
            make_client(
                endpoint.openai, endpoint.base_url, endpoint.key, endpoint.timeout
            ) as self.client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(endpoint.concurrency, self.n_jobs)):
                group.create_task(self._work(numbers))

    def _make_room(self, n):
        for _ in range(n):
            self.room.release()

    async def _work(self, numbers):
        for number in numbers:
            await self.room.acquire()
            if self.stop():
                return
            try:
                messages = await asyncio.to_thread(self.messages, number)
            except (ValueError, OSError, MemoryError) as error:
                reply = error
            else:
                reply = await self._reply(messages)
            if reply is None:
                return
            self.done.put((number, reply))

    async def _reply(self, messages):
        try:
            return await self._answer(messages)
        except _Trouble as trouble:
            error = EndpointError(f"{self.endpoint.where()}: {trouble.reason}")
            fatal = trouble.fatal or (trouble.unreached and not self.n_answered)
        # Not in the handler: the client's error holds the key, and an error takes
        # the one it was raised beside along where it is pickled
        if fatal:
            raise error
        return error

    async def _answer(self, messages):
        """Ask until there is an answer, or no hope of one; None if not to begin."""
        n_failed, n_answered, trouble, plain = 0, 0, None, False
        while True:
            await self._pause(self.not_before - self.loop.time())
            if self.stop():
                if trouble is None:
                    return None
                raise trouble
            form = "none" if plain else self.form
            try:
                reply = await self._send(messages, form)
            except _Trouble as error:
                trouble = error
            else:
                self.n_answered += 1
                if form != "none":
                    # A refusal that came before was of its request alone.
                    self.in_doubt, self.form = False, form
                elif plain and self.in_doubt:
                    self.form = "none"
                return reply
            if self.in_doubt and form != "none" and trouble.status in _REFUSALS:
                plain = True
                continue
            # Those who queue at a limit are served in turn: nobody fails who only
            # waits for others.
            others_were = trouble.limited and self.n_answered > n_answered
            n_failed = 0 if others_were else n_failed + 1
            n_answered = self.n_answered
            if not trouble.again:
                raise trouble
            n_retries = self.endpoint.max_retries
            if trouble.refused and not self.n_answered:
                # As a rule a wrong address, or a server that nobody started.
                n_retries = min(n_retries, 1)
            if n_failed > n_retries:
                trouble.reason += f" (tries: {n_failed})"
                raise trouble
            if trouble.wait is not None and trouble.wait > LONGEST_WAIT:
                trouble.reason += f" (asks to wait for {trouble.wait:.0f} seconds)"
                raise trouble
            await self._wait(trouble, max(n_failed, 1))

    async def _wait(self, trouble, n_failed):
        pause = backoff(n_failed, self.rng)
        if trouble.limited or trouble.wait is not None:
            # It holds for all requests, which then do not come back all at once.
            wait = pause if trouble.wait is None else trouble.wait
            self._hold(wait)
            pause = wait + pause * self.rng.random()
        await self._pause(pause)

    def _hold(self, seconds):
        self.not_before = max(self.not_before, self.loop.time() + seconds)

    async def _pause(self, seconds):
        end = self.loop.time() + seconds
        while (left := end - self.loop.time()) > 0 and not self.stop():
            await asyncio.sleep(min(left, _TICK))

    async def _send(self, messages, form):
        """Send a request once and read the answer."""
        endpoint, openai = self.endpoint, self.endpoint.openai
        create = self.client.chat.completions.with_raw_response.create
        options = dict(endpoint.options)
        if form == "json_schema":
            schema = {"name": "answer", "strict": True, "schema": self.schema}
            options["response_format"] = {"type": form, "json_schema": schema}
        elif form == "json_object":
            options["response_format"] = {"type": form}
        try:
            # The client's own timeout starts anew with every byte.
            async with asyncio.timeout(endpoint.timeout):
                answer = await create(
                    model=endpoint.model, messages=messages, **options
                )
        except (openai.APITimeoutError, TimeoutError):
            reason = f"no answer within {endpoint.timeout:g} seconds (timeout)"
            raise _Trouble(reason, again=True) from None
        except openai.APIStatusError as error:
            raise self._judge(error) from None
        except (openai.APIConnectionError, UnusableAnswerError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, UnusableAnswerError):
                raise _Trouble(str(cause)) from None
            reason = endpoint.hide_key(f"{type(cause).__name__}: {cause}")
            raise _Trouble(
                f"the connection failed: {reason}",
                again=True,
                unreached=True,
                refused=is_refused(error),
            ) from None
        self._hold(min(reset_wait(answer.headers), LONGEST_WAIT))
        return self._read(answer.text)

    def _judge(self, error):
        """Turn an error that the server sent into what is to be done about it."""
        status, body = error.status_code, error.body
        code = body.get("code") if isinstance(body, dict) else None
        said = error_message(body) or error.response.text
        # Hidden before it is cut, which may leave half of the key.
        said = " ".join(self.endpoint.hide_key(said).split())[:300]
        spent = code == "insufficient_quota"
        moved = 300 <= status < 400
        remedy = _REMEDIES.get("spent" if spent else "moved" if moved else status, "")
        refused = status in (401, 404) or (
            (moved or status == 403) and not self.n_answered
        )
        return _Trouble(
            f"HTTP {status}: {said or 'no reason given'}{remedy}",
            status=status,
            again=(status in _TRY_AGAIN or status >= 500 and status != 501)
            and not spent,
            limited=status == 429,
            wait=stated_wait(error.response.headers),
            fatal=spent or refused,
        )

    def _read(self, text):
        try:
            data = json.loads(text)
            choice = data["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
            if isinstance(content, list):
                content = "".join(part.get("text") or "" for part in content)
            if not isinstance(content, str | None):
                raise TypeError
            usage = data.get("usage") or {}
            counts = [usage.get(f"{k}_tokens") for k in ("prompt", "completion")]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            said = " ".join(self.endpoint.hide_key(text).split())[:100]
            reason = f"what it sends is no chat completion: {said!r}"
            raise _Trouble(reason, again=True) from None
        if not content and refusal:
            content, choice = str(refusal), {"finish_reason": "refusal"}
        finish = choice.get("finish_reason")
        return Reply(
            self.endpoint.hide_key(content or ""),
            self.endpoint.hide_key(finish) if isinstance(finish, str) else "stop",
            *map(as_count, counts),
        )


_REMEDIES = {
    "moved": ". It sends requests on to another address, which is not followed: "
    "give that as base_url if you trust it",
    401: ". Check the key: api_key_env names the environment variable that holds it",
    403: ". Check what the key may be used for",
    404: ". Check base_url (it ends with /v1 as a rule) and the model's name",
    "spent": ". Add credit; what was answered is in the cache and not asked again",
}
