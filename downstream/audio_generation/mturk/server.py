"""The web server of a local listening test: pages, recordings (with ranges, which browsers need to seek), answers."""

from __future__ import annotations

import re
import sys
import time
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from .hits import UID, Hit, file_of
from .pages import placeholder
from .rating import ALLOTTED, AnswerError, Ratings, check_worker

LARGEST_FORM = 1 << 20
_AUDIO = re.compile(rf"/audio/([0-9]{{1,9}})/({UID.pattern})\.wav")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_NUMBER = re.compile(r"[0-9]{1,9}")
_DAY = 86400

DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body style="font: 16px/1.5 system-ui, sans-serif">
{body}
</body>
</html>
"""

WELCOME = """<div style="max-width: 30rem; margin: 3rem auto; padding: 0 1rem">
<h1 style="font-size: 1.4rem">Listening test</h1>
{message}
<form action="/hit" method="get">
<label>Your name <input name="worker" required maxlength="64" autocomplete="nickname"></label>
<button type="submit">Begin</button>
</form>
</div>"""

FORM = """<form action="/submit" method="post" id="mturk_form">
<input type="hidden" name="worker" value="{worker}">
<input type="hidden" name="hit" value="{number}">
<input type="hidden" name="began" value="{began}">
{page}
<p style="text-align: center"><button type="submit" style="font: inherit; padding: .5rem 2rem">Submit</button></p>
</form>"""


class RatingServer(ThreadingHTTPServer):
    """Serves one condition.

    Args:
        address: host and port.
        folder: of the condition, as turk_create_batch.py wrote it.
        ratings: keeps the answers.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], folder: Path, ratings: Ratings):
        self.folder, self.ratings = folder, ratings
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no bug; all else shows its traceback."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: RatingServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Welcome, a batch, or a recording."""
        parts = self._address()
        if parts is None:
            return
        if parts.path == "/":
            self._page("Listening test", WELCOME.format(message="<p>Thank you for taking part.</p>"))
        elif parts.path == "/hit":
            self._hit(parse_qs(parts.query).get("worker", [""])[0])
        elif match := _AUDIO.fullmatch(parts.path):
            self._recording(file_of(self.server.folder, int(match[1]), match[2]))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """The answers to a batch; the next one follows."""
        parts = self._address()
        if parts is None:
            return
        if parts.path != "/submit":
            self.close_connection = True  # what was sent is not read
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        length = self.headers.get("Content-Length", "")
        if not _NUMBER.fullmatch(length) or int(length) > LARGEST_FORM:
            self.close_connection = True
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is no form of this page.")
            return
        given = {name: values[0] for name, values in parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace")).items()}
        worker = given.get("worker", "")
        try:
            self.server.ratings.submit(worker, number_of(given.get("hit", "")), given, seconds_since(given.get("began", "")))
        except AnswerError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"{error} Please go back and try again.")
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"/hit?worker={quote(worker.strip())}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _address(self) -> SplitResult | None:
        """What is asked for; None, and refused, if it is no address."""
        try:
            return urlsplit(self.path)
        except ValueError:
            self.close_connection = True  # what may follow is not read
            self._refuse(HTTPStatus.BAD_REQUEST, "This is no address.")
            return None

    def _hit(self, worker: str) -> None:
        ratings = self.server.ratings
        try:
            worker = check_worker(worker)
        except AnswerError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        hit = ratings.next_for(worker)
        if hit is None:
            waits = f"the last ones are with other raters; please look again in {ALLOTTED / 60:.0f} minutes whether any is left"
            rest = waits if ratings.may_return(worker) else "there are no more"
            message = f"<p>Thank you, {escape(worker)}: you have rated {ratings.done_by(worker)} batches, and {rest}.</p>"
            self._page("Done", WELCOME.format(message=message))
            return
        self._page(f"Batch {hit.number + 1}", self._form(worker, hit))

    def _form(self, worker: str, hit: Hit) -> str:
        page = self.server.ratings.page.html()
        for number, uid in enumerate(hit.uids):
            page = page.replace(placeholder(number), f"/audio/{hit.number}/{quote(uid)}.wav")
        return FORM.format(worker=escape(worker, quote=True), number=hit.number, began=f"{time.time():.1f}", page=page)

    def _recording(self, path: Path) -> None:
        if not path.is_file():
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such recording.")
            return
        data = path.read_bytes()
        more = {"Accept-Ranges": "bytes"}
        try:
            span = range_of(self.headers.get("Range"), len(data))
        except ValueError:
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "audio/wav", 0, {"Content-Range": f"bytes */{len(data)}"})
            return
        status = HTTPStatus.OK
        if span is not None:
            status, more["Content-Range"] = HTTPStatus.PARTIAL_CONTENT, f"bytes {span[0]}-{span[1]}/{len(data)}"
            data = data[span[0] : span[1] + 1]
        self._head(status, "audio/wav", len(data), more)
        self._write(data)

    def _page(self, title: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        data = DOCUMENT.format(title=escape(title), body=body).encode()
        self._head(status, "text/html; charset=utf-8", len(data), {"Cache-Control": "no-store"})
        self._write(data)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._page("Listening test", WELCOME.format(message=f"<p>{escape(message)}</p>"), status)

    def _head(self, status: HTTPStatus, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(length), **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> None:
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):  # browsers stop reading a recording when they have enough of it
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """No line for each request."""


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that a ``Range`` header asks for.

    Returns:
        None without one, or with one of another form, which asks for all of them.

    Raises:
        ValueError: there are no such bytes.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if not first <= last:
        raise ValueError(f"no bytes {header} of {size}")
    return first, last


def number_of(text: str) -> int:
    """The number of a batch, -1 for what is none."""
    return int(text) if _NUMBER.fullmatch(text) else -1


def seconds_since(began: str) -> float:
    """How long ago a page was sent; 0 for what is no time of the last day."""
    try:
        seconds = time.time() - float(began)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds <= _DAY else 0.0
