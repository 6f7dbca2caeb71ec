"""The synthetic VoxCeleb1: official layout and lists, speakers and sentences apart, equal bytes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from preprocess.synthesis import voxceleb1
from preprocess.synthesis.build import Item
from preprocess.synthesis.voxceleb1 import ROOT, SPLIT_FILE, TRIALS
from tests.support.corpora import synthetic


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of size tiny."""
    return synthetic("voxceleb1", tmp_path_factory.mktemp("voxceleb1"))


def files(out: Path, part: str) -> set[str]:
    folder = out / ROOT / part / "wav"
    return {str(path.relative_to(folder)) for path in folder.rglob("*.wav")}


def trials(out: Path, part: str) -> list[tuple[str, str, str]]:
    return [tuple(line.split(" ")) for line in (out / TRIALS[part]).read_text().splitlines()]


def test_paths_are_the_official_ones(tiny):
    for part in ("dev", "test"):
        assert files(tiny, part)
        assert all(re.fullmatch(r"id\d{5}/[\w-]{11}/\d{5}\.wav", path) for path in files(tiny, part))
    assert all("id10270" <= path[:7] <= "id10309" for path in files(tiny, "test"))
    assert not any("id10270" <= path[:7] <= "id10309" for path in files(tiny, "dev"))
    for path in (tiny / ROOT).rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert info.duration > 3.5


def test_the_identification_split_has_all_files_and_no_video_twice(tiny):
    lines = [line.split(" ") for line in (tiny / SPLIT_FILE).read_text().splitlines()]
    assert {path for _, path in lines} == files(tiny, "dev") | files(tiny, "test")
    parts = {}
    for code, path in lines:
        parts.setdefault(path.rpartition("/")[0], set()).add(code)
    assert all(len(codes) == 1 for codes in parts.values())
    speakers = {code: {path[:7] for c, path in lines if c == code} for code in "123"}
    assert speakers["1"] == speakers["2"] == speakers["3"]
    assert len(speakers["1"]) == sum(voxceleb1.counts(3).values())


def test_trials_are_of_both_kinds_and_true(tiny):
    speakers = {}
    for part in ("dev", "test"):
        found = trials(tiny, part)
        kinds = Counter(label for label, *_ in found)
        assert 0.4 < kinds["1"] / len(found) < 0.6
        assert all((label == "1") == (a[:7] == b[:7]) for label, a, b in found)
        assert len({tuple(sorted(pair)) for _, *pair in found}) == len(found)
        assert {path for _, *pair in found for path in pair} <= files(tiny, part)
        assert all(a != b for _, a, b in found)
        speakers[part] = {path[:7] for _, *pair in found for path in pair}
    assert not speakers["dev"] & speakers["test"]
    assert len({path[:7] for path in files(tiny, "dev")} - speakers["dev"]) == 3


def test_numbers_are_unique_at_any_size():
    for size in (1, 60, 300, 1200):
        names = [voxceleb1.speaker_name(size, item.split, item.index) for item in voxceleb1.plan(size)]
        assert len(names) == len(set(names))
        pools = [item.split for item in voxceleb1.plan(size)]
        assert all(("id10270" <= name <= "id10309") == (pool == "test") for name, pool in zip(names, pools, strict=True))


def test_equal_seeds_give_equal_bytes(tiny, tmp_path):
    for seed in (0, 1):
        voxceleb1.render(Item("speaker", "test", 1, 6), 3, seed, tmp_path / str(seed))
    written = {seed: sorted((tmp_path / str(seed)).rglob("*.wav")) for seed in (0, 1)}
    assert len(written[0]) == len(written[1]) == 6
    assert all(path.read_bytes() == (tiny / path.relative_to(tmp_path / "0")).read_bytes() for path in written[0])
    assert not {path.read_bytes() for path in written[0]} & {path.read_bytes() for path in written[1]}
