"""The download cache against a server on this machine that breaks off, changes its mind and counts what it is asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from utility.errors import DataError
from utility.experiment import download

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Short waits, a cache of the test's own and no real one."""
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(download, "S3PRL_CACHE", tmp_path / "s3prl")
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))


def test_a_file_is_downloaded_once_under_s3prls_name(server, tmp_path):
    server.files["/a/model.pt"] = CONTENT
    url = server.url("/a/model.pt")
    path = download.fetch(url, sha256=DIGEST.upper())
    assert path == tmp_path / "cache" / f"{hashlib.sha256(url.encode()).hexdigest()}.model.pt"
    assert path.read_bytes() == CONTENT
    assert download.fetch(url, sha256=DIGEST) == path
    assert len(server.requests) == 1
    assert sorted(p.name for p in path.parent.iterdir()) in ([path.name], [path.name, path.name + ".lock"])


def test_the_cache_serves_when_the_server_is_gone(server):
    server.files["/x"] = CONTENT
    url = server.url("/x")
    path = download.fetch(url)
    server.files.clear()
    assert download.fetch(url) == path


def test_s3prls_cache_is_read_and_not_written(server, tmp_path):
    url = server.url("/x")
    foreign = download.cached_path(url, tmp_path / "s3prl")
    foreign.parent.mkdir()
    foreign.write_bytes(CONTENT)
    assert download.fetch(url, sha256=DIGEST) == foreign
    foreign.write_bytes(b"damaged")
    server.files["/x"] = CONTENT
    assert download.fetch(url, sha256=DIGEST).parent == tmp_path / "cache"
    assert foreign.read_bytes() == b"damaged"


def test_cache_dir_can_be_set(tmp_path):
    download.set_cache_dir(tmp_path / "mine")
    try:
        assert download.cached_path("http://h/f").parent == tmp_path / "mine"
    finally:
        download.set_cache_dir(None)
    assert download.cache_dir() == tmp_path / "cache"


def test_a_broken_connection_is_continued_where_it_broke(server):
    server.files["/x"] = CONTENT
    server.break_after = [1000, 70000]
    assert download.fetch(server.url("/x"), sha256=DIGEST).read_bytes() == CONTENT
    assert [r.headers.get("Range") for r in server.requests] == [None, "bytes=1000-", "bytes=71000-"]


def test_a_file_that_changed_meanwhile_is_not_glued_together(server):
    server.files["/x"] = b"old" * 1000
    server.break_after = [1000]
    server.after_request = lambda: server.files.update({"/x": CONTENT})
    assert download.fetch(server.url("/x")).read_bytes() == CONTENT


def test_a_server_without_ranges_or_validators_starts_again(server):
    server.files["/x"] = CONTENT
    server.etags = False
    server.break_after = [1000]
    assert download.fetch(server.url("/x")).read_bytes() == CONTENT
    assert [r.headers.get("Range") for r in server.requests] == [None, None]


def test_a_server_that_always_breaks_off_is_named(server, tmp_path):
    server.files["/x"] = CONTENT
    server.break_after = [10] * 20
    with pytest.raises(DataError, match=r"cannot download http://.*/x: the connection ended after 50 of 256000 bytes"):
        download.fetch(server.url("/x"))
    assert not download.cached_path(server.url("/x")).exists()
    server.break_after = []
    assert download.fetch(server.url("/x")).read_bytes() == CONTENT
    assert server.requests[-1].headers["Range"] == "bytes=50-"


@pytest.mark.parametrize(("status", "sentence"), [(404, "does not exist"), (410, "does not exist"), (403, "is refused by the server")])
def test_a_final_answer_is_not_asked_twice(server, status, sentence):
    server.status = {"/x": [status] * 9}
    with pytest.raises(DataError, match=sentence):
        download.fetch(server.url("/x"))
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server):
    server.files["/x"] = CONTENT
    server.status = {"/x": [503, 429]}
    assert download.fetch(server.url("/x")).read_bytes() == CONTENT
    server.status = {"/y": [500] * 9}
    with pytest.raises(DataError, match="the server answers with HTTP status 500"):
        download.fetch(server.url("/y"))


def test_redirects_are_followed_among_web_addresses_only(server, tmp_path):
    server.files["/x"] = CONTENT
    server.redirects = {"/moved": server.url("/x"), "/trick": f"file://{tmp_path}/secret"}
    (tmp_path / "secret").write_text("secret")
    assert download.fetch(server.url("/moved")).read_bytes() == CONTENT
    with pytest.raises(DataError, match="/trick"):
        download.fetch(server.url("/trick"))


def test_a_wrong_checksum_leaves_nothing(server):
    server.files["/x"] = CONTENT
    with pytest.raises(DataError, match=f"its SHA-256 is {DIGEST}, not {'0' * 64}"):
        download.fetch(server.url("/x"), sha256="0" * 64)
    path = download.cached_path(server.url("/x"))
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".lock"] == []


def test_a_cached_file_with_a_wrong_checksum_is_replaced(server):
    server.files["/x"] = CONTENT
    path = download.cached_path(server.url("/x"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"truncated")
    assert download.fetch(server.url("/x"), sha256=DIGEST).read_bytes() == CONTENT


def test_refresh_downloads_again_once_per_process(server):
    server.files["/x"] = b"old"
    path = download.fetch(server.url("/x"))
    server.files["/x"] = b"new"
    assert download.fetch(server.url("/x"), refresh=True).read_bytes() == b"old"
    os.utime(path, (time.time() - 10**6,) * 2)
    assert download.fetch(server.url("/x"), refresh=True).read_bytes() == b"new"
    assert download.fetch(server.url("/x"), refresh=True).read_bytes() == b"new"
    assert len(server.requests) == 2


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "plain", "/etc/passwd"])
def test_only_the_web_is_read(url):
    with pytest.raises(DataError, match="only http and https"):
        download.fetch(url)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid"])
def test_an_unreachable_host_is_one_sentence(host):
    with pytest.raises(DataError, match=f"cannot reach {host}: ."):
        download.fetch(f"http://{host}/x")


def test_a_cache_that_cannot_be_written_is_one_sentence(server, tmp_path):
    server.files["/x"] = CONTENT
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot keep http"):
        download.fetch(server.url("/x"), cache=tmp_path / "file")


def _fetch(url: str, cache: Path) -> None:
    download.fetch(url, cache=cache)


def test_parallel_processes_download_once(server, tmp_path):
    server.files["/x"] = CONTENT
    server.delay = 0.3
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fetch, args=(server.url("/x"), tmp_path / "c")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(server.requests) == 1


def test_a_killed_download_is_continued(server, tmp_path):
    server.files["/x"] = CONTENT
    server.stall_after = 100_000
    process = multiprocessing.get_context("spawn").Process(target=_fetch, args=(server.url("/x"), tmp_path))
    process.start()
    part = download.cached_path(server.url("/x"), tmp_path).with_name(download.cached_path(server.url("/x")).name + ".part")
    for _ in range(1200):
        with contextlib.suppress(FileNotFoundError):
            if part.stat().st_size:
                break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    server.stall_after = None
    held = part.stat().st_size
    assert 0 < held <= 100_000
    assert download.fetch(server.url("/x"), sha256=DIGEST, cache=tmp_path).read_bytes() == CONTENT
    assert server.requests[-1].headers["Range"] == f"bytes={held}-"


def test_a_download_that_was_killed_when_all_was_there_is_made_good(server, tmp_path):
    """There are no further bytes to ask for: a server would refuse the range."""
    server.files["/x"] = CONTENT
    path = download.fetch(server.url("/x"), cache=tmp_path)
    path.rename(path.with_name(path.name + ".part"))
    note = {"etag": f'"{hashlib.md5(CONTENT).hexdigest()}"', "total": len(CONTENT)}
    path.with_name(path.name + ".part.json").write_text(json.dumps(note))
    assert download.fetch(server.url("/x"), cache=tmp_path).read_bytes() == CONTENT
    assert [file for file in tmp_path.iterdir() if ".part" in file.name] == []


@pytest.mark.parametrize(
    ("header", "answer"),
    [("bytes 4-9/10", True), ("bytes 0-9/10", False), ("bytes 4-9/11", False), ("bytes 4-8/10", False), ("", False)],
)
def test_a_range_other_than_the_one_asked_for_is_not_appended(header, answer, tmp_path):
    part = download._Part("http://x/y", tmp_path / "part", tmp_path / "note")
    part.path.write_bytes(b"1234")
    response = SimpleNamespace(headers={"Content-Range": header})
    assert part._continues(response, 4, {"total": 10}) is answer
    assert part.path.exists() is answer
