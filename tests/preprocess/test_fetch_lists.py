"""fetch_lists.py: its shipped table, and downloads by a table of the test's own from a server on this machine."""

from __future__ import annotations

import hashlib
import re

import pytest
import yaml

from preprocess import fetch_lists
from tests import web_server
from utility.errors import ConfigError, UnknownNameError
from utility.experiment import download

CONTENT = b"WORD\tW O R D\n" * 5000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Retries follow at once."""
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
def server():
    """A web server on this machine, fresh for each test."""
    with web_server.running() as state:
        yield state


@pytest.fixture
def fetch(tmp_path, server):
    """``fetch(rows, *arguments)``: the status of the program run with a table of these rows, writing to ``tmp_path/out``."""

    def _fetch(rows: list[dict], *arguments: str) -> int:
        base = {"task": "asr", "licence": "none", "source": "test"}
        rows = [base | row | {"urls": [server.url(path) for path in row["urls"]]} for row in rows]
        (tmp_path / "table.yaml").write_text(yaml.safe_dump(rows))
        return fetch_lists.main(["--table", str(tmp_path / "table.yaml"), "--out", str(tmp_path / "out"), *arguments])

    return _fetch


LEXICON = {"name": "lexicon", "urls": ["/lexicon"], "target": "asr/lexicon.txt", "sha256": hashlib.sha256(CONTENT).hexdigest()}


def test_a_list_goes_to_its_place_and_is_not_fetched_again(fetch, server, tmp_path, capsys):
    server.files["/lexicon"] = CONTENT
    assert fetch([LEXICON]) == 0
    assert fetch([LEXICON]) == 0
    assert (tmp_path / "out/asr/lexicon.txt").read_bytes() == CONTENT
    assert capsys.readouterr().out == f"{tmp_path / 'out/asr/lexicon.txt'}\n" * 2
    assert len(server.requests) == 1


def test_a_download_that_breaks_is_continued(fetch, server, tmp_path):
    server.files["/lexicon"] = CONTENT
    server.break_after = [100] * 10
    assert fetch([LEXICON]) == 2
    server.break_after = []
    assert fetch([LEXICON]) == 0
    assert re.fullmatch(r"bytes=\d+-", server.requests[-1].headers["Range"])
    assert (tmp_path / "out/asr/lexicon.txt").read_bytes() == CONTENT


def test_the_next_address_is_tried(fetch, server, tmp_path):
    server.files |= {"/wrong": b"an error page", "/lexicon": CONTENT}
    assert fetch([LEXICON | {"urls": ["/gone", "/wrong", "/lexicon"]}]) == 0
    assert (tmp_path / "out/asr/lexicon.txt").read_bytes() == CONTENT


def test_one_failure_is_told_and_does_not_stop_the_rest(fetch, server, tmp_path, capsys):
    server.files |= {"/lexicon": b"other", "/size": b"12345", "/good": CONTENT}
    rows = [
        LEXICON,
        {"name": "gone", "urls": ["/gone"], "target": "gone"},
        {"name": "size", "urls": ["/size"], "target": "size", "bytes": 6},
        {"name": "good", "urls": ["/good"], "target": "good"},
    ]
    assert fetch(rows) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out/good'}\n"
    wanted = ["lexicon: .*its SHA-256 is", r"gone: .*does not exist \(HTTP status 404\)", "size: .*it has 5 bytes, not 6"]
    assert all(re.match(sentence, line) for sentence, line in zip(wanted, captured.err.splitlines(), strict=True))
    assert not (tmp_path / "out/size").exists()


def test_a_file_of_the_wrong_size_is_replaced(fetch, server, tmp_path):
    server.files["/size"] = b"123456"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/size").write_text("123")
    assert fetch([{"name": "size", "urls": ["/size"], "target": "size", "bytes": 6}]) == 0
    assert (tmp_path / "out/size").read_bytes() == b"123456"


PAGES = {
    "a page": b"<!DOCTYPE html><html><body>moved</body></html>",
    "a login": b"\xef\xbb\xbf\n  <!-- login -->\n<HTML lang='en'>",
    "xhtml": b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0'>",
    "a fragment": b"<head><title>Error</title>",
}


@pytest.mark.parametrize("content", [*PAGES.values(), b""], ids=[*PAGES, "nothing"])
def test_what_is_no_list_is_refused_though_nothing_is_known_of_it(fetch, server, tmp_path, capsys, content):
    """Even one that lies there already; a page of the right size is a page."""
    server.files |= {"/page": content, "/list": CONTENT}
    row = {"name": "unknown", "urls": ["/page"], "target": "unknown"}
    for own in (row, row | {"bytes": len(content)}):
        assert fetch([own]) == 2
        assert "/page is not the expected file: it is " + ("a web page" if content else "empty") in capsys.readouterr().err
        assert not (tmp_path / "out/unknown").exists()
    (tmp_path / "out/unknown").write_bytes(content)
    assert fetch([row | {"urls": ["/page", "/list"]}]) == 0
    assert (tmp_path / "out/unknown").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"<unk> 1\n</s> 2\n", b"<html-like>\n", b"\x1f\x8b\x08binary", b"a <html> b"])
def test_lists_that_look_odd_are_lists(fetch, server, content):
    server.files["/odd"] = content
    assert fetch([{"name": "odd", "urls": ["/odd"], "target": "odd"}]) == 0


def test_only_what_is_asked_for_and_optional_ones_only_then(fetch, server, tmp_path):
    server.files |= {"/a": b"a", "/b": b"b"}
    rows = [
        {"name": "a", "urls": ["/a"], "target": "a"},
        {"name": "b", "urls": ["/b"], "target": "b", "optional": True, "task": "lm"},
    ]
    assert fetch(rows) == 0
    assert not (tmp_path / "out/b").exists()
    assert fetch(rows, "--only", "lm") == 0
    assert (tmp_path / "out/b").exists()


def test_an_unknown_name_shows_the_nearest(capsys):
    assert fetch_lists.main(["--only", "asr-lexikon"]) == 2
    assert capsys.readouterr().err.startswith("unknown list 'asr-lexikon'; did you mean 'asr-lexicon'?")


def test_all_faults_of_a_table_are_told_together(tmp_path):
    rows = [{"name": "x", "task": "t", "urls": "http://h", "target": "../x", "licence": "l", "sorce": "s"}, "text"]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(rows))
    with pytest.raises(ConfigError) as caught:
        fetch_lists.read_table(tmp_path / "t.yaml")
    assert [fault.split(";")[0] for fault in caught.value.faults] == [
        "entry 'x' has the unknown field 'sorce'",
        "entry 'x' lacks 'source'",
        "entry 'x': urls must be a list",
        "entry 'x': the target '../x' leaves the output folder",
        "entry 1 is not a mapping",
    ]


def test_the_shipped_table_is_sound(capsys):
    entries = fetch_lists.read_table(fetch_lists.TABLE)
    assert len({entry.name for entry in entries}) == len({entry.target for entry in entries}) == len(entries) > 20
    assert all(url.startswith("https://") for entry in entries for url in entry.urls)
    assert all(entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256) for entry in entries)
    assert {"ctc", "asr", "phone_linear", "voxceleb1", "sv_voxceleb1", "emotion", "diarization"} == {entry.task for entry in entries}
    assert fetch_lists.main(["--list", "--only", "asr-lm"]) == 0
    assert "for asr, size unknown, optional, to asr/4-gram.arpa.gz" in capsys.readouterr().out


def test_the_digests_are_those_of_the_files(shared):
    """Those lists of which a copy lies in ../shared."""
    found = {path.name: path for path in (shared / "data/task_lists").rglob("*.txt")}
    known = [entry for entry in fetch_lists.read_table(fetch_lists.TABLE) if entry.sha256]
    assert len(known) == 4
    for entry in known:
        path = found[entry.target.rsplit("/", 1)[-1]]
        assert (download.file_sha256(path), path.stat().st_size) == (entry.sha256, entry.bytes)


def test_select_keeps_the_order_of_the_table():
    entries = fetch_lists.read_table(fetch_lists.TABLE)
    assert [entry.name for entry in fetch_lists.select(entries, ["phone-labels", "pr-lexicon-200k"])] == ["pr-lexicon-200k", "phone-labels"]
    with pytest.raises(UnknownNameError):
        fetch_lists.select(entries, ["nothing"])
