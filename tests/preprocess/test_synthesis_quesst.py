"""The synthetic QUESST 2014: official layout, a true ground truth, unheard voices, equal bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from preprocess.synthesis import quesst
from preprocess.synthesis.build import Item
from preprocess.synthesis.corpora import synthesize
from preprocess.synthesis.voices import POOLS, speaker
from utility.metrics.detection_files import read_ground_truth


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder quesst14Database of size tiny."""
    return synthesize("quesst", tmp_path_factory.mktemp("quesst")) / "quesst14Database"


def keys(root: Path, kind: str) -> dict[str, str]:
    """Language by the path below the root."""
    lines = [line.split() for line in (root / f"scoring/language_key_{kind}.lst").read_text().splitlines()]
    assert all(path.startswith("quesst14Database/") for path, _ in lines)
    return {path.removeprefix("quesst14Database/"): language for path, language in lines}


def test_lists_name_all_files_and_several_languages(tiny):
    listed = {kind: keys(tiny, kind) for kind in ("utterances", "dev", "eval")}
    files = {str(path.relative_to(tiny)) for path in tiny.rglob("*.wav")}
    assert files == {path for languages in listed.values() for path in languages}
    for languages in listed.values():
        assert set(languages.values()) == {"nnenglish", "czech", "romanian"}
        assert list(languages.values()).count("nnenglish") > len(languages) / 3
    for path in tiny.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")


def test_the_ground_truth_covers_all_languages(tiny):
    for part in ("dev", "eval"):
        truth = read_ground_truth(tiny / f"scoring/groundtruth_quesst14_{part}")
        assert sorted(truth.documents) == sorted(Path(path).stem for path in keys(tiny, "utterances"))
        languages = {Path(path).stem: language for path, language in keys(tiny, part).items()}
        assert sorted(truth.queries) == sorted(languages)
        assert "nnenglish" in {languages[query] for query, _ in truth.targets}
        assert {document for _, document in truth.targets} < set(truth.documents)
        spoken = {Path(path).stem: language for path, language in keys(tiny, "utterances").items()}
        assert all(languages[query] == spoken[document] for query, document in truth.targets)


def test_queries_occur_as_whole_words():
    assert quesst.occurs("velvet saddle", "they saw the velvet saddle, and it rained")
    assert quesst.occurs("rained", "they saw it, and it rained")
    assert not quesst.occurs("velvet saddle", "velvet, a saddle")
    assert not quesst.occurs("sad", "saddle")


def test_queries_are_short_and_never_twice():
    asked = [phrase for language in quesst.LANGUAGES for part in quesst.PARTS for phrase in quesst.phrases(3, language, part)]
    assert len(asked) == len(set(asked))
    assert {len(phrase.split()) for phrase in asked} == {1, 2, 4}


def test_no_voice_of_a_query_is_heard_in_a_recording():
    """Variants come from disjoint pools, also beyond their size and in other languages."""
    for index in (0, 70, 1003, 2001):
        recording = speaker(0, "train", index).voice.variant
        assert recording in POOLS["train"]
        for pool in ("dev", "test"):
            assert speaker(0, pool, index).voice.variant in POOLS[pool]
            assert not set(POOLS["train"]) & set(POOLS[pool])


@pytest.mark.parametrize("size", [1, 6, 150])
def test_numbers_are_unique(size):
    for kind in ("speaker", "query"):
        items = [item for item in quesst.plan(size) if item.kind.startswith(kind) and item.split != "dev"]
        numbers = [quesst.number_of(item.kind.split("-")[1], item.index) for item in items]
        assert len(numbers) == len(set(numbers))


def test_equal_seeds_give_equal_bytes_in_any_size(tiny, tmp_path):
    for item in (Item("query-nnenglish", "eval", 1, 1), Item("speaker-romanian", "", 0, 5)):
        for seed in (0, 1):
            quesst.render(item, 2 if item.split == "" else 40, seed, tmp_path / str(seed))
    for seed in (0, 1):
        written = sorted((tmp_path / str(seed)).rglob("*.wav"))
        assert len(written) == 6
        same = [path.read_bytes() == (tiny / path.parent.name / path.name).read_bytes() for path in written]
        assert all(same) if seed == 0 else not any(same)
