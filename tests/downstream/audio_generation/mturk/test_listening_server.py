"""Batches of recordings, and the local server over HTTP."""

from __future__ import annotations

import csv
import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import pytest

from downstream.audio_generation.mturk import mos, serve, turk_create_batch
from downstream.audio_generation.mturk.hits import read_hits
from downstream.audio_generation.mturk.pages import music_page, speech_page
from downstream.audio_generation.mturk.rating import Ratings
from downstream.audio_generation.mturk.server import RatingServer, range_of, seconds_since
from tests.downstream.audio_generation.mturk.conditions import Markup, answers, batched, serving


def test_batches_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture):
    made = batched(tmp_path)
    words = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "final")]

    def refused(condition: str, *more: str) -> str:
        assert turk_create_batch.main(["--condition", condition, *words, *more]) == 2
        return capsys.readouterr().err

    assert f"{made} exists already" in refused("hums", "--methods", "ours")
    (tmp_path / "file").touch()
    assert f"Not a directory: {tmp_path / 'file'}" in refused("new", "--methods", "ours", "--output_dir", str(tmp_path / "file"))
    assert "there is no folder" in refused("new", "--methods", "ours", "theirs")
    assert "--batch_size 3 does not divide 4 recordings evenly" in refused("new", "--methods", "ours", "--batch_size", "3")
    assert "names ours twice" in refused("new", "--methods", "ours", "ours")
    assert "needs three places" in refused("new", "--methods", "ours", "--url_templ", "http://x/{}/{}.wav")
    assert "must end like" in refused("new", "--methods", "ours", "--url_templ", "http://x/{}-{}-{}.wav")
    assert "must end like" in refused("new", "--methods", "ours", "--url_templ", "http://x/a,b/{}/{}/{}.wav")
    for condition in ("a b", "a,b", "../a", "..", 'a"b'):
        assert "letters, digits, dots, dashes and underscores only" in refused(condition, "--methods", "ours")
    (tmp_path / "in/test/9.wav").touch()
    assert "hold different recordings, such as 9.wav" in refused("new", "--methods", "ours", "test")
    assert not (tmp_path / "final/new").exists()


def test_what_archives_of_other_systems_leave_is_no_recording(tmp_path: Path):
    (tmp_path / "in/ours").mkdir(parents=True)
    (tmp_path / "in/ours/._0.wav").write_bytes(b"resource fork")
    (tmp_path / "in/ours/9.wav").mkdir()
    assert (batched(tmp_path) / "batches.txt").read_text().split() == ["2.wav", "1.wav", "3.wav", "0.wav"]


# ---- the server


@pytest.fixture
def server(condition: Path) -> Iterator[RatingServer]:
    ratings = Ratings(read_hits(condition), music_page(2), condition.with_name("hums_batch_results.csv"), raters=2)
    with serving(condition, ratings) as running:
        yield running


def ask(server: RatingServer, path: str, form: dict[str, object] | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    if form is None:
        connection.request("GET", path, headers=headers)
    else:
        connection.request("POST", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded", **headers})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def hidden(page: bytes) -> dict[str, str | None]:
    return {field["name"]: field["value"] for field in Markup(page.decode()).all("input") if field["type"] == "hidden"}


@pytest.mark.parametrize("condition", [(), ("--url_templ", "https://x.org/a/{}/{}/{}.wav?raw=1#t")], indirect=True, ids=["plain", "query"])
def test_a_batch_from_end_to_end(server: RatingServer, condition: Path, capsys: pytest.CaptureFixture):
    """Two raters answer everything; the results go through mos.py."""
    status, _, page = ask(server, "/")
    assert status == 200
    assert any(field["name"] == "worker" for field in Markup(page.decode()).all("input"))
    for worker in ("Ann O'Neil & Söhne", "Ben"):
        for _ in range(4):
            status, _, page = ask(server, f"/hit?{urlencode({'worker': worker})}")
            markup = Markup(page.decode())
            for audio in markup.all("audio"):
                status, headers, data = ask(server, audio["src"])
                assert (status, headers["Content-Type"], data[:4]) == (200, "audio/wav", b"RIFF")
            status, headers, _ = ask(server, "/submit", {**hidden(page), **answers()})
            assert status == 303
        status, _, page = ask(server, headers["Location"])
        assert b"you have rated 4 batches, and there are no more" in page
    assert b"there are no more" in ask(server, "/hit?worker=Cleo")[2]  # two raters were wanted
    results = condition.with_name("hums_batch_results.csv")
    rows = list(csv.DictReader(results.read_text(encoding="utf-8").splitlines()))
    assert Counter(row["WorkerId"] for row in rows) == {"Ann O'Neil & Söhne": 4, "Ben": 4}
    assert {row["Input.recording_0_url"] for row in rows} == {hit.urls[0] for hit in read_hits(condition)}
    written = condition.with_name("made") / "numbers.json"
    assert mos.main([str(results), "--batches", str(condition), "--gold", "--output", str(written)]) == 0
    assert json.loads(written.read_text())["quality"]["ours"][:2] == [3, 8]
    said = capsys.readouterr().out
    assert "ours: 3.00 ± 0.00 (8 answers)" in said
    assert "test: 4.00 ± 0.00 (8 answers)" in said


def test_an_answer_counts_once_and_only_if_complete(server: RatingServer):
    page = hidden(ask(server, "/hit?worker=Ann")[2])
    some = answers()
    del some["recording_1_musicality"]
    for form in (some, {**answers(), "recording_0_quality": 6}, {**answers(), "hit": 99}, {**answers(), "hit": "9" * 5000}):
        status, _, said = ask(server, "/submit", {**page, **form})
        assert status == 400
        assert b"Please go back and try again" in said
    assert ask(server, "/submit", {**page, **answers(), "worker": "\n"})[0] == 400
    assert server.ratings.entries == []
    assert ask(server, "/submit", {**page, **answers()})[0] == 303
    assert ask(server, "/submit", {**page, **answers(quality=1)})[0] == 303  # a second click
    assert [entry["answers"]["recording_0_quality"] for entry in server.ratings.entries] == ["3"]


def test_many_raters_at_once(server: RatingServer):
    """No answer is lost, and none is written over another."""

    def rate(worker: str) -> None:
        for number in range(4):
            assert ask(server, "/submit", {"worker": worker, "hit": number, **answers()})[0] == 303

    threads = [threading.Thread(target=rate, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in server.ratings.journal.read_text().splitlines()]
    assert sorted((line["worker"], line["hit"]) for line in lines) == [(f"w{w}", hit) for w in range(6) for hit in range(4)]
    assert len(server.ratings.results.read_text().splitlines()) == 25


def test_ranges(server: RatingServer):
    source = Markup(ask(server, "/hit?worker=Ann")[2].decode()).all("audio")[0]["src"]
    whole = ask(server, source)[2]
    status, headers, part = ask(server, source, Range="bytes=10-19")
    assert (status, headers["Content-Range"], part) == (206, f"bytes 10-19/{len(whole)}", whole[10:20])
    assert ask(server, source, Range="bytes=-5")[2] == whole[-5:]
    assert ask(server, source, Range=f"bytes={len(whole)}-")[0] == 416
    assert ask(server, source, Range="lines=1-2")[0] == 200


@pytest.mark.parametrize(
    "path", ["/audio/0/../uids.txt", "/audio/0/%2e%2e/uids.txt", "/uids.txt", "/audio/0/x.wav", f"/audio/9/{'0' * 32}.wav", "/x"]
)
def test_nothing_else_is_served(server: RatingServer, path: str):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 9)),
        ("bytes=3-5", (3, 5)),
        ("bytes=3-50", (3, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-", None),
        ("b", None),
    ],
)
def test_range_headers(header: str | None, expected: tuple[int, int] | None):
    assert range_of(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-3", "bytes=-0"])
def test_ranges_that_are_not_there(header: str):
    with pytest.raises(ValueError, match="no bytes"):
        range_of(header, 10)


def test_times_that_are_none():
    assert [seconds_since(text) for text in ("", "nan", "inf", "-inf", "0", "1e300")] == [0.0] * 6


class Full:
    """A file on a disk that takes ten bytes more, or none."""

    def __init__(self, file: IO[bytes]):
        self.file = file

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        return self.file.write(data[:10])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_loses_no_other_answer(server: RatingServer, monkeypatch: pytest.MonkeyPatch):
    """The rater is told, and may try again; what stood there stays readable."""
    assert ask(server, "/submit", {"worker": "Ann", "hit": 0, **answers()})[0] == 303
    whole = Path.open
    with monkeypatch.context() as full:
        full.setattr(Path, "open", lambda path, *words, **more: Full(whole(path, *words, **more)))
        status, _, said = ask(server, "/submit", {"worker": "Ann", "hit": 1, **answers()})
    assert (status, b"cannot be kept just now" in said) == (400, True)
    assert ask(server, "/submit", {"worker": "Ann", "hit": 1, **answers()})[0] == 303
    with monkeypatch.context() as full:
        full.setattr("downstream.audio_generation.mturk.rating.write_text", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert ask(server, "/submit", {"worker": "Ann", "hit": 2, **answers()})[0] == 303  # the journal has it
    assert [json.loads(line)["hit"] for line in server.ratings.journal.read_text().splitlines()] == [0, 1, 2]
    assert len(server.ratings.results.read_text().splitlines()) == 3
    assert ask(server, "/submit", {"worker": "Ann", "hit": 3, **answers()})[0] == 303
    assert len(server.ratings.results.read_text().splitlines()) == 5


def test_a_form_to_nowhere_ends_the_connection(server: RatingServer):
    """What was sent with it would be read as the next request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("POST", "/x", "GET /hit?worker=Eve HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = connection.getresponse()
    assert (answer.status, answer.read() != b"") == (404, True)
    connection.sock.settimeout(10)
    assert connection.sock.recv(1) == b""
    connection.close()


def talk(server: RatingServer, request: bytes) -> bytes:
    """What the server says to bytes that no browser sends."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize("request_line", [b"GET http://[x/ HTTP/1.0", b"HEAD http://[x/ HTTP/1.1", b"POST http://[x/submit HTTP/1.1"])
def test_an_address_that_is_none_is_refused(server: RatingServer, request_line: bytes, capsys: pytest.CaptureFixture):
    assert talk(server, request_line + b"\r\nHost: x\r\n\r\n").split()[1] == b"400"
    assert capsys.readouterr().err == ""


def test_a_browser_that_resets_the_connection_is_no_traceback(server: RatingServer, capsys: pytest.CaptureFixture):
    handled = threading.Event()
    server.shutdown_request, shut = lambda request: (shut(request), handled.set()), server.shutdown_request
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(b"GET / HT")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # to close is then to reset
    assert handled.wait(30)
    assert capsys.readouterr().err == ""


def test_other_faults_of_the_server_are_shown(server: RatingServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    handled = threading.Event()
    server.shutdown_request, shut = lambda request: (shut(request), handled.set()), server.shutdown_request
    monkeypatch.setattr(server.ratings, "next_for", lambda worker: 1 / 0)
    assert talk(server, b"GET /hit?worker=Ann HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert handled.wait(30)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_raters_at_the_same_time_begin_with_different_batches(server: RatingServer):
    """Over HTTP, with two answers wanted of each of four batches; a ninth rater is told to come back."""
    found = [hidden(ask(server, f"/hit?worker=w{number}")[2])["hit"] for number in range(8)]
    assert Counter(found) == dict.fromkeys("0123", 2)
    assert b"the last ones are with other raters; please look again in 30 minutes" in ask(server, "/hit?worker=w8")[2]
    assert ask(server, "/submit", {"worker": "w0", "hit": found[0], **answers()})[0] == 303
    assert b"the last ones are with other raters" in ask(server, "/hit?worker=w8")[2]


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_it_is_interrupted(condition: Path, repo: Path, interruption: signal.Signals):
    """Over the command line, from its own folder; results lie beside the condition."""
    words = [sys.executable, "serve.py", str(condition), "--template", "speech", "--port", "0"]
    folder = repo / "downstream/audio_generation/mturk"
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            port = int(said.split("/ (")[0].rsplit(":", 1)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            form = {"worker": "Ann", "hit": 1, **{question.name: 1 for question in speech_page(2).questions}}
            connection.request("POST", "/submit", urlencode(form))
            assert connection.getresponse().status == 303
            connection.close()
            process.send_signal(interruption)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")
    results = condition.with_name("hums_batch_results.csv")
    assert said.rstrip().endswith(f"results: {results}")
    assert f"answers: 1, in {results}" in rest
    assert results.read_text().count("\n") == 2


def test_servers_that_cannot_be(condition: Path, tmp_path: Path, server: RatingServer, capsys: pytest.CaptureFixture):
    def refused(*words: str) -> str:
        taken = ["--port", str(server.server_port)]  # what is not refused as it should be does not serve for ever
        assert serve.main(["--template", "music", "--results", str(tmp_path / "other.csv"), *taken, *words]) == 2
        return capsys.readouterr().err

    assert "turk_create_batch.py writes it" in refused(str(tmp_path))
    assert "cannot listen at 127.0.0.1" in refused(str(condition))
    assert "--raters must be at least 1" in refused(str(condition), "--raters", "0")
    first, second = ([condition / str(hit.number) / f"{uid}.wav" for uid in hit.uids] for hit in read_hits(condition)[1:3])
    first[1].write_bytes(b"")
    for path in second:
        path.rename(path.with_suffix(".flac"))
    said = refused(str(condition))
    assert "3 of 8 recordings of urls.csv cannot be heard" in said
    assert f"the first is {first[1]}" in said
    (condition / "0/clip.wav").write_bytes(b"RIFF")
    (condition / "urls.csv").write_text("recording_0_url\nhttp://x/hums/0/clip.wav\n")
    assert "1 of 1 recordings" in refused(str(condition))  # a name that the server would not find
    (condition / "urls.csv").write_text("a,b\n1,2\n")
    assert "is no table of the columns recording_0_url" in refused(str(condition))
    (condition / "urls.csv").write_text("recording_0_url\nhttp://[x/hums/0/0.wav\n")
    assert "urls.csv: 'http://[x/hums/0/0.wav' is no address" in refused(str(condition))
    (condition / "urls.csv").write_text("recording_0_url\nx\n", encoding="utf-16")
    assert "urls.csv is no UTF-8 text" in refused(str(condition))
