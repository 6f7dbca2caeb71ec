"""A web server on this machine for the tests of downloads: files, ranges, and every way to misbehave that they need."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WebServer:
    """What the server holds and how it behaves; all of it can be changed while it runs.

    Attributes:
        files: content by path.
        redirects: target URL by path.
        status: by path, the error statuses of the next answers.
        break_after: bytes of body after which the next answers break off, one number an answer.
        stall_after: bytes after which every answer waits for ever.
        delay: seconds before the body.
        etags: whether files are named by an ETag (and ranges are served).
        requests: the requests so far.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    stall_after: int | None = None
    delay: float = 0.0
    etags: bool = True
    after_request: Callable[[], object] | None = None
    requests: list[BaseHTTPRequestHandler] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


def _handler(state: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            state.requests.append(self)
            if state.status.get(self.path):
                self.send_error(state.status[self.path].pop(0))
            elif self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.end_headers()
            elif self.path not in state.files:
                self.send_error(404)
            else:
                self._send_file(state.files[self.path])
            if state.after_request:
                state.after_request()

        def _send_file(self, content: bytes) -> None:
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and state.etags and self.headers.get("If-Range") == etag else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if state.etags:
                self.send_header("ETag", etag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            time.sleep(state.delay)
            self._send_body(content[start:])

        def _send_body(self, body: bytes) -> None:
            limit = state.break_after.pop(0) if state.break_after else state.stall_after
            self.wfile.write(body if limit is None else body[:limit])
            self.wfile.flush()
            while state.stall_after is not None and state.stall_after < len(body):
                time.sleep(0.01)

    return Handler


@contextmanager
def running() -> Iterator[WebServer]:
    """A server that answers as long as the block lasts."""
    state = WebServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.stall_after = None
        server.shutdown()
        thread.join()
        server.server_close()
