"""Stage -1 and stage 1 against a server on this machine: whole archives, interrupted ones, and what is no archive."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from downstream.mos_prediction.preparation.recipe import Source, read_recipe
from downstream.mos_prediction.preparation.sources import fetch, root_of, unpack
from downstream.mos_prediction.recipes import published
from downstream.mos_prediction.recipes.data import download_data
from tests.downstream.mos_prediction.archives import EGS, zipped
from tests.web_server import running
from utility.errors import DataError
from utility.experiment import download


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT_SECONDS", 0.001)
    with running() as state:
        yield state


def test_an_archive_is_unpacked_once(server, tmp_path):
    server.files["/somos.zip"] = zipped({"lists/TRAINSET": b"x", "audios.zip": zipped({"audios/a.wav": b"y"})})
    source = Source(server.url("/somos.zip"), "somos.zip", unpack=True, inner=["audios.zip"])
    for _ in range(2):
        fetch(source, tmp_path)
    assert (tmp_path / "lists/TRAINSET").read_bytes() == b"x"
    assert (tmp_path / "audios/a.wav").read_bytes() == b"y"
    assert not (tmp_path / "somos.zip").exists()
    assert len(server.requests) == 1


def test_an_interrupted_download_is_continued(server, tmp_path):
    server.files["/a.zip"] = zipped({"big": bytes(range(256)) * 500}, stored=True)
    server.break_after = [20000]
    fetch(Source(server.url("/a.zip"), "a.zip", unpack=True), tmp_path)
    assert (tmp_path / "big").stat().st_size == 128000
    assert [request.headers.get("Range") is not None for request in server.requests] == [False, True]


def test_recordings_are_gathered(server, tmp_path):
    server.files["/VoiceMOS.zip"] = zipped({"VoiceMOS/a.wav": b"a", "VoiceMOS/b.wav": b"b", "VoiceMOS/readme": b""})
    server.files["/flat.zip"] = zipped({"c.wav": b"c"})
    fetch(Source(server.url("/VoiceMOS.zip"), "VoiceMOS.zip", unpack=True, gather="wavs"), tmp_path)
    fetch(Source(server.url("/flat.zip"), "flat.zip", unpack=True, gather="wavs"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "wavs").iterdir()) == ["a.wav", "b.wav", "c.wav"]


def test_a_page_instead_of_the_archive_is_named(server, tmp_path):
    server.files["/a.zip"] = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"a\.zip is no archive"):
        fetch(Source(server.url("/a.zip"), "a.zip", unpack=True), tmp_path)


def test_a_wrong_digest_is_refused(server, tmp_path):
    server.files["/a"] = b"other"
    with pytest.raises(DataError, match="is not the expected file"):
        fetch(Source(server.url("/a"), "a", sha256="0" * 64), tmp_path)


def test_no_member_leaves_the_folder(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        member = tarfile.TarInfo("../outside")
        member.size = 1
        file.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / "a.tar"
    archive.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "in")
    assert not (tmp_path / "outside").exists()


def test_a_cut_archive_is_named(tmp_path):
    archive = tmp_path / "a.tar.gz"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as file:
        member = tarfile.TarInfo("a")
        member.size = 100000
        file.addfile(member, io.BytesIO(zipfile.ZipFile.__doc__.encode().ljust(100000, b"\1")))
    archive.write_bytes(whole.getvalue()[:-60])
    with pytest.raises(DataError, match=r"archive .*a\.tar\.gz is (damaged|no archive)|is no archive"):
        unpack(archive, tmp_path)


def test_manual_steps_are_printed_after_the_download(server, tmp_path, capsys):
    server.files["/main.tar.gz"] = b"x"
    recipe = read_recipe(EGS / "bvcc")
    recipe = replace(recipe, sources=[Source(server.url("/main.tar.gz"), "main.tar.gz")])
    download_data(recipe, tmp_path)
    printed = capsys.readouterr().out
    assert f"{tmp_path}/main/DATA/wav" in printed
    assert "DB_ROOT" not in printed


def test_every_source_has_an_address_and_a_place():
    for path in sorted(EGS.glob("*/recipe.yaml")):
        recipe = read_recipe(path.parent)
        assert recipe.sources or recipe.manual or recipe.pool, recipe.name
        for source in recipe.sources:
            assert source.url.startswith("https://")
            assert not Path(source.to).is_absolute()
            assert ".." not in Path(source.to).parts


def test_the_root_may_be_either(tmp_path):
    recipe = read_recipe(EGS / "bvcc")
    assert root_of(recipe, tmp_path) == tmp_path
    (tmp_path / "main/DATA").mkdir(parents=True)
    assert root_of(recipe, tmp_path) == tmp_path / "main/DATA"


def test_published_predictors_lie_under_the_guides_names(server, tmp_path, monkeypatch):
    recipe = replace(read_recipe(EGS / "bvcc"), pretrained={"bvcc/sslmos": {"conf": "ssl-mos-wav2vec2", "steps": {2337: 13100}}})
    for name in ("config.yml", "checkpoint-13100steps.pkl"):
        server.files[f"/hub/bvcc/sslmos/2337/{name}"] = b"x"
    calls = []

    def imported(line: list[str], **kwargs: object) -> object:
        calls.append(line)
        Path(line[-1]).write_bytes(b"ours")
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(published.subprocess, "run", imported)
    for _ in range(2):
        published.fetch_published(recipe, tmp_path, server.url("/hub"))
    assert len(calls) == 1
    for folder in ("pt_ssl-mos-wav2vec2-2337", "pt_ssl-mos-wav2vec2_2337"):
        assert (tmp_path / folder / "checkpoint-best.pkl").read_bytes() == b"ours"
    assert (tmp_path / "pt_ssl-mos-wav2vec2-2337/original/config.yml").exists()
