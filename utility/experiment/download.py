"""Files from the web, kept in a cache: downloaded once, resumed, checked, never half there (specs/s3prl-core.md, section 8.5).

A file lies in the cache as ``<SHA-256 of the URL>.<last part of the URL>``, S3PRL's naming; S3PRL's own cache is read as well, never
written. The cache is ``~/.cache/speech_toolkit/download`` unless the variable SPEECH_TOOLKIT_CACHE or :func:`set_cache_dir` says otherwise.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from tqdm import tqdm

from utility.errors import DataError

CACHE_VARIABLE = "SPEECH_TOOLKIT_CACHE"
S3PRL_CACHE = Path("~/.cache/s3prl/download")
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 20
REFRESH_SECONDS = 2.0
_STARTED = time.time()
_chosen: list[Path] = []


def set_cache_dir(folder: str | Path | None) -> None:
    """Makes ``folder`` the cache of this process (``--cache_dir``); None returns to the variable or the default."""
    _chosen[:] = [Path(folder).expanduser()] if folder is not None else []


def cache_dir() -> Path:
    """The folder that downloads go to."""
    return _chosen[0] if _chosen else Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/speech_toolkit/download").expanduser()


def cached_path(url: str, cache: str | Path | None = None) -> Path:
    """Where the cache keeps ``url``, whether or not it is there."""
    name = url.rstrip("/").rsplit("/", 1)[-1][-150:]
    return (Path(cache) if cache is not None else cache_dir()) / f"{hashlib.sha256(url.encode()).hexdigest()}.{name}"


def fetch(url: str, refresh: bool = False, sha256: str | None = None, cache: str | Path | None = None) -> Path:
    """The local copy of a URL; without a network, the one that is in the cache already.

    Args:
        url: http or https.
        refresh: download again, unless the copy is newer than this process (several processes that refresh at once download once).
        sha256: the digest in hexadecimal that the file must have.
        cache: the folder to keep it in; :func:`cache_dir` by default.

    Raises:
        DataError: the URL cannot be had, or the file is not the one that ``sha256`` names.
    """
    path = cached_path(url, cache)
    if not refresh and cache is None and not path.exists():
        foreign = cached_path(url, S3PRL_CACHE.expanduser())
        if foreign.is_file() and (sha256 is None or file_sha256(foreign) == sha256.lower()):
            return foreign
    return download(url, path, refresh, sha256)


def download(url: str, path: str | Path, refresh: bool = False, sha256: str | None = None) -> Path:
    """Like :func:`fetch`, to a path of the caller's choice. An interrupted download leaves ``<path>.part`` and is continued.

    Raises:
        DataError: as :func:`fetch`, or ``path`` cannot be written.
    """
    path = Path(path)
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"cannot download {url!r}: only http and https addresses can be")
    if _usable(path, refresh, sha256):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(path, ".lock")):
            if not _usable(path, refresh, sha256):  # another process may have been quicker
                _download_locked(url, path, sha256)
    except OSError as error:
        raise DataError(f"cannot keep {url} as {path}: {error.strerror or error}") from error
    return path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _usable(path: Path, refresh: bool, sha256: str | None) -> bool:
    if not path.is_file():
        return False
    if refresh and path.stat().st_mtime < _STARTED - REFRESH_SECONDS:
        return False
    return sha256 is None or file_sha256(path) == sha256.lower()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _download_locked(url: str, path: Path, sha256: str | None) -> None:
    part = _Part(url, _beside(path, ".part"), _beside(path, ".part.json"))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            part.continue_()
            break
        except _TryAgain as error:
            if attempt == ATTEMPTS:
                raise DataError(f"cannot download {url}: {error}") from error.__cause__
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    if sha256 is not None and (found := file_sha256(part.path)) != sha256.lower():
        part.discard()
        raise DataError(f"{url} is not the expected file: its SHA-256 is {found}, not {sha256.lower()}")
    os.utime(part.path)
    part.path.replace(path)
    part.discard()


class _TryAgain(Exception):  # noqa: N818 - becomes a DataError when patience ends
    """A failure that may pass: a lost connection, a busy server."""


@dataclass
class _Part:
    """A download on its way: ``path`` holds the first bytes, ``note`` what the server called the file that they are of."""

    url: str
    path: Path
    note: Path

    def continue_(self) -> None:
        """Fetches what is missing; returns when all is there."""
        held, known = self._held()
        with _open(self.url, held, known.get("etag")) as response:
            if response.status == 206 and not self._continues(response, held, known):
                raise _TryAgain("the server changed the file meanwhile")
            start = held if response.status == 206 else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            self.note.write_text(json.dumps({"etag": _validator(response), "total": total}))
            size = self._receive(response, start, total)
        if total is not None and size != total:
            raise _TryAgain(f"the connection ended after {size} of {total} bytes")

    def discard(self) -> None:
        """Forgets what is there."""
        for file in (self.path, self.note):
            file.unlink(missing_ok=True)

    def _held(self) -> tuple[int, dict]:
        """Bytes that are there and what is known of them; without a note nothing is continued, since it could be of another file."""
        with suppress(FileNotFoundError, ValueError):
            known = json.loads(self.note.read_text())
            held = self.path.stat().st_size
            if known.get("etag") and known.get("total") is not None and held < known["total"]:
                return held, known
        return 0, {}

    def _continues(self, response: http.client.HTTPResponse, held: int, known: dict) -> bool:
        if response.headers.get("Content-Range", "").replace(" ", "") == f"bytes{held}-{known['total'] - 1}/{known['total']}":
            return True
        self.discard()
        return False

    def _receive(self, response: http.client.HTTPResponse, start: int, total: int | None) -> int:
        size, name = start, self.url.rsplit("/", 1)[-1][:40]
        bar = tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, file=sys.stderr, disable=None)
        with self.path.open("ab" if start else "wb", buffering=0) as file, bar:
            while block := _read(response):
                file.write(block)
                size += len(block)
                bar.update(len(block))
            os.fsync(file.fileno())
        return size


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(BLOCK_BYTES)  # what has arrived: a slow download then grows steadily
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"the connection broke: {_reason(error)}") from error


def _open(url: str, held: int, validator: str | None) -> http.client.HTTPResponse:
    headers = {"User-Agent": "speech-toolkit", "Accept-Encoding": "identity"}
    if held and validator:
        headers |= {"Range": f"bytes={held}-", "If-Range": validator}
    try:
        return _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise DataError(f"{url} does not exist (HTTP status {error.code})") from None
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _TryAgain(f"the server answers with HTTP status {error.code} ({error.reason})") from error
        raise DataError(f"{url} is refused by the server (HTTP status {error.code}, {error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"cannot reach {urlsplit(url).netloc}: {_reason(error)}") from error


def _opener() -> urllib.request.OpenerDirector:
    """Opens http and https and follows redirects among them only; a redirect to a local file or to ftp finds no handler."""
    opener = urllib.request.OpenerDirector()
    request = urllib.request
    for handler in (request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPRedirectHandler):
        opener.add_handler(handler())
    for handler in (request.HTTPErrorProcessor, request.HTTPDefaultErrorHandler, request.UnknownHandler):
        opener.add_handler(handler())
    return opener


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What names this version of the file: a strong ETag, else the date of its last change (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    return str(getattr(inner, "strerror", None) or inner or getattr(error, "strerror", None) or error or type(error).__name__)
