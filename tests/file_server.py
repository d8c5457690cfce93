"""A server on loopback that holds a record of files as Zenodo does, well or badly."""

import hashlib
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BLOCK = 2**14


@dataclass
class Answer:
    """How one request is answered, where not as it should be.

    ``sent`` bytes of the body come before the line is cut; ``pause`` is slept after
    each block of 16 KiB.
    """

    status: int | None = None
    headers: dict = field(default_factory=dict)
    sent: int | None = None
    pause: float = 0.0


@dataclass
class Request:
    """What was asked for."""

    path: str
    headers: dict
    time: float

    @property
    def range(self):
        return self.headers.get("range")


class FileServer:
    """The server, a context manager.

    Parameters
    ----------
    files : dict of str to bytes
        Content by name.

    Attributes
    ----------
    url : str
        Address of the record.
    requests : list of Request
        All that came for files, not for the record.
    n_records : int
        How often the record was asked for.
    answers : list of Answer
        How the next requests for files are answered; then as they should be.
    ranges, tags : bool
        Whether parts of files can be asked for; whether files have an ETag.
    checksums : dict of str to str
        MD5 in the record of files that are in truth others.
    """

    def __init__(self, files):
        self.files = files
        self.requests, self.answers = [], []
        self.n_records = 0
        self.ranges = self.tags = True
        self.checksums, self.errors = {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                outer._handle(self)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                # Clients that are killed hang up, other errors are none of theirs
                if not isinstance(sys.exception(), ConnectionError):
                    outer.errors.append(sys.exception())

        self._server = Server(("127.0.0.1", 0), Handler)
        self._base = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self._base}/api/records/7"
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

    def record(self):
        """Return the record as Zenodo gives it."""
        entries = [
            {
                "id": f"id-{name}",
                "key": name,
                "size": len(data),
                "checksum": f"md5:{self.checksums.get(name, md5_of(data))}",
                "links": {"self": f"{self.url}/files/{name}/content"},
            }
            for name, data in self.files.items()
        ]
        return {"id": 7, "title": "A record", "files": entries}

    def file_url(self, name):
        return f"{self.url}/files/{name}/content"

    def _handle(self, handler):
        if handler.path == "/api/records/7":
            self.n_records += 1
            self._send(handler, 200, {}, json.dumps(self.record()).encode(), Answer())
            return
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.path, headers, time.monotonic()))
        answer = self.answers.pop(0) if self.answers else Answer()
        name = handler.path.split("/")[-2] if handler.path.count("/") > 4 else ""
        data = self.files.get(name)
        if answer.status is not None or data is None:
            self._send(handler, answer.status or 404, answer.headers, b"", answer)
            return
        status, sent, begin = 200, {}, 0
        tag = f'"{md5_of(data)}"'
        if self.tags:
            sent["ETag"] = tag
        if self.ranges and "range" in headers and headers.get("if-range", tag) == tag:
            begin = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(data):
                self._send(handler, 416, {}, b"", answer)
                return
            status = 206
            sent["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self._send(handler, status, sent | answer.headers, data[begin:], answer)

    def _send(self, handler, status, headers, body, answer):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        body = body if answer.sent is None else body[: answer.sent]
        for start in range(0, len(body), _BLOCK):
            handler.wfile.write(body[start : start + _BLOCK])
            handler.wfile.flush()
            time.sleep(answer.pause)
        if answer.sent is not None:
            handler.close_connection = True


def md5_of(data):
    """Return a checksum as records give it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
