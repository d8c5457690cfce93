"""A server on loopback that speaks OpenAI's chat interface, well or badly."""

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LABELS = ("happy", "sad", "neutral")


@dataclass
class Request:
    """One request: what was sent, and how often the same data was sent before."""

    body: dict
    headers: dict
    path: str
    number: int
    tries: int
    time: float

    @property
    def data(self):
        """What the last message holds, from its JSON object on."""
        content = self.body["messages"][-1]["content"]
        return json.loads(content[content.rfind("\n") + 1 :])

    @property
    def text(self):
        return self.data["text"]


@dataclass
class Response:
    """What is sent back; ``sent`` bytes of the body, then the line is cut."""

    body: object = None
    status: int = 200
    headers: dict = field(default_factory=dict)
    delay: float = 0.0
    sent: int | None = None
    drop: bool = False


def completion(content, *, finish="stop", usage=(100, 20), **more):
    """Return a completion as servers send it."""
    message = {"role": "assistant", "content": content, **more}
    counts = dict(
        zip(("prompt_tokens", "completion_tokens"), usage or (), strict=False)
    )
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": counts or None,
    }


def label_of(text):
    """Return the label that the server gives to a text."""
    return LABELS[sum(text.encode("utf-8", "replace")) % len(LABELS)]


def good_answer(request):
    """Answer as asked."""
    text = request.text
    fields = {
        "keywords": text.split()[:2],
        "reason": f"It says {text[:20]}.",
        "label": label_of(text),
    }
    return Response(completion(json.dumps(fields)))


class ChatServer:
    """The server, a context manager.

    Parameters
    ----------
    respond : callable
        Turns a :class:`Request` into a :class:`Response`; called in threads.

    Attributes
    ----------
    url : str
        Its ``base_url``.
    requests : list of Request
        All that came.
    most_at_once : int
        The largest number of requests under way at one time.
    """

    def __init__(self, respond=good_answer):
        self.respond = respond
        self.requests = []
        self.errors = []
        self.most_at_once = 0
        self._under_way = 0
        self._seen = Counter()
        self._lock = threading.Lock()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the kernel waits for more to send with each small piece.
            disable_nagle_algorithm = True

            def do_POST(self):
                chat._handle(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request, client_address):
                # Clients that hang up are part of the tests, other errors are not.
                if not isinstance(sys.exception(), ConnectionError):
                    chat.errors.append(sys.exception())

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self.errors:
            raise RuntimeError("the test's own server failed") from self.errors[0]

    @property
    def texts(self):
        """The texts that were asked about, a request each."""
        return [request.text for request in self.requests]

    def _handle(self, handler):
        size = int(handler.headers["content-length"])
        content = handler.rfile.read(size)
        if len(content) < size:
            # The client hung up while it was sending.
            handler.close_connection = True
            return
        body = json.loads(content)
        seen = json.dumps(body["messages"][-1])
        with self._lock:
            request = Request(
                body,
                {k.lower(): v for k, v in handler.headers.items()},
                handler.path,
                len(self.requests),
                self._seen[seen],
                time.monotonic(),
            )
            self._seen[seen] += 1
            self.requests.append(request)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            self._send(handler, self.respond(request))
        finally:
            with self._lock:
                self._under_way -= 1

    def _send(self, handler, response):
        time.sleep(response.delay)
        if response.drop:
            handler.close_connection = True
            return
        body = response.body
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        handler.send_response(response.status)
        headers = {"content-type": "application/json"} | response.headers
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: response.sent])
        handler.wfile.flush()
        if response.sent is not None:
            handler.close_connection = True
