"""The written corpora: official layouts, disjoint splits, equal bytes, errors."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess import synthesize_corpus
from preprocess.synthesis import engine, librispeech, speech_commands, texts
from preprocess.synthesis.build import Item
from preprocess.synthesis.corpora import CORPORA, corpus_named, synthesize
from preprocess.synthesis.phones import FRAME_CLASSES, VOWELS, without_stress
from utility.errors import UnknownNameError, UsageError


def digest(folder: Path) -> dict[str, str]:
    """Hash of each file below a folder by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def official_part(file_name: str) -> str:
    """The rule of Speech Commands (content spec, section 4)."""
    number = int(hashlib.sha1(re.sub(r"_nohash_.*$", "", file_name).encode()).hexdigest(), 16)
    percentage = (number % (2**27)) * (100.0 / (2**27 - 1))
    return "valid" if percentage < 10 else "test" if percentage < 20 else "train"


# --- Speech Commands


def test_speech_commands_has_the_official_folders(tiny_speech_commands):
    main, test = (tiny_speech_commands / name for name in ("speech_commands_v0.01", "speech_commands_test_set_v0.01"))
    words = {path.name for path in main.iterdir() if path.is_dir()} - {"_background_noise_"}
    keywords = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}
    assert len(words) == 30 and keywords < words
    assert {path.name for path in test.iterdir()} == keywords | {"_unknown_", "_silence_"}
    noises = {path.stem for path in (main / "_background_noise_").iterdir()}
    assert noises == {"doing_the_dishes", "dude_miaowing", "exercise_bike", "pink_noise", "running_tap", "white_noise"}
    for path in main.glob("[!_]*/*"):
        assert re.fullmatch(r"[0-9a-f]{8}_nohash_\d\.wav", path.name)


def test_speech_commands_audio_is_16_khz_mono_of_a_second_or_less(tiny_speech_commands):
    clips = [path for path in tiny_speech_commands.rglob("*.wav") if path.parent.name != "_background_noise_"]
    lengths, peaks = [], []
    for path in clips:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        lengths.append(info.frames)
        peaks.append(np.abs(soundfile.read(path)[0]).max())
    assert max(lengths) == 16000 and min(lengths) >= 9600
    assert 0.75 < np.mean(np.array(lengths) == 16000) < 1
    assert 0.2 < min(peaks) < 0.35 and 0.8 < max(peaks) <= 0.95


def test_speech_commands_parts_follow_the_official_hash(tiny_speech_commands):
    main = tiny_speech_commands / "speech_commands_v0.01"
    lists = {part: set((main / f"{part}_list.txt").read_text().split()) for part in ("validation", "testing")}
    found = {"train": set(), "valid": set(), "test": set()}
    for path in main.glob("[!_]*/*.wav"):
        found[official_part(path.name)].add(f"{path.parent.name}/{path.name}")
    assert all(found.values())
    assert lists == {"validation": found["valid"], "testing": found["test"]}


def test_speech_commands_test_archive_has_unseen_speakers_and_all_classes(tiny_speech_commands):
    test = tiny_speech_commands / "speech_commands_test_set_v0.01"
    for folder in test.iterdir():
        files = list(folder.glob("*.wav"))
        assert files, folder
        if folder.name != "_silence_":
            assert all(official_part(path.name) == "test" for path in files)
    keyword = next(test.glob("yes/*.wav"))
    assert keyword.read_bytes() == (tiny_speech_commands / "speech_commands_v0.01" / "yes" / keyword.name).read_bytes()


def test_a_longer_word_loses_its_ends_and_a_shorter_one_moves():
    rng = np.random.default_rng(0)
    wav, active = speech_commands.place(np.arange(1, 101, dtype=np.float32), 60, rng)
    assert (wav[0], wav[-1], active) == (21, 80, slice(0, 60))
    starts = set()
    for _ in range(50):
        wav, active = speech_commands.place(np.ones(40, np.float32), 60, rng)
        assert wav.sum() == wav[active].sum() == 40
        starts.add(active.start)
    assert min(starts) < 3 and max(starts) > 17


# --- LibriSpeech


def utterances(root: Path) -> dict[str, tuple[Path, str]]:
    """Audio file and transcript by utterance id, read as LibriSpeech is read."""
    found = {}
    for transcript in (root / "LibriSpeech").rglob("*.trans.txt"):
        for line in transcript.read_text().splitlines():
            name, text = line.split(" ", 1)
            found[name] = (transcript.parent / f"{name}.flac", text)
    return found


def test_librispeech_transcripts_match_the_audio_files(tiny_librispeech):
    by_name = utterances(tiny_librispeech)
    audio = {path.stem: path for path in (tiny_librispeech / "LibriSpeech").rglob("*.flac")}
    assert {name: path for name, (path, _) in by_name.items()} == audio
    for name, (path, text) in by_name.items():
        speaker, chapter, number = name.split("-")
        assert path.parts[-3:-1] == (speaker, chapter) and re.fullmatch(r"\d{4}", number)
        assert re.fullmatch(r"[A-Z]+( [A-Z]+)*", text)
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 0.15 < info.duration / len(text.split()) < 0.9


def test_librispeech_splits_share_neither_speakers_nor_sentences(tiny_librispeech):
    speakers, sentences = {}, {}
    for _, (path, text) in utterances(tiny_librispeech).items():
        split = path.parts[-4]
        speakers.setdefault(split, set()).add(path.parts[-3])
        sentences.setdefault(split, set()).add(text)
    assert set(speakers) == {"train-clean-100", "dev-clean", "test-clean"}
    for kind in (speakers, sentences):
        assert sum(map(len, kind.values())) == len(set.union(*kind.values()))


def test_librispeech_alignments_cover_the_audio_and_spell_the_text(tiny_librispeech):
    lexicon = dict(line.split("\t") for line in (tiny_librispeech / "lexicon.txt").read_text().splitlines())
    by_name, aligned = utterances(tiny_librispeech), {}
    for ctm in (tiny_librispeech / "alignments").glob("*.ctm"):
        for line in ctm.read_text().splitlines():
            name, _, start, duration, phone = line.split()
            aligned.setdefault(name, []).append((float(start), float(start) + float(duration), phone))
    assert set(aligned) == set(by_name)
    same = total = 0
    for name, phones in aligned.items():
        path, text = by_name[name]
        assert phones[0][0] == 0 and phones[-1][1] == pytest.approx(soundfile.info(path).duration, abs=2e-4)
        assert all(a[1] == pytest.approx(b[0], abs=2e-4) for a, b in pairwise(phones))
        spoken = [without_stress(phone) for _, _, phone in phones if phone != "SIL"]
        spelled = [without_stress(phone) for word in text.split() for phone in lexicon[word].split()]
        assert abs(len(spoken) - len(spelled)) <= 3
        same, total = same + len(set(spoken) & set(spelled)), total + len(set(spoken) | set(spelled))
    assert same / total > 0.9


def test_librispeech_speech_is_louder_than_its_background(tiny_librispeech):
    ratios = []
    for line_set in (tiny_librispeech / "alignments").glob("*.ctm"):
        levels: dict[str, dict[bool, list[float]]] = {}
        for line in line_set.read_text().splitlines():
            name, _, start, duration, phone = line.split()
            if phone != "SIL" and without_stress(phone) not in VOWELS:
                continue
            path = utterances(tiny_librispeech)[name][0]
            wav, _ = soundfile.read(path, start=round(float(start) * 16000), frames=round(float(duration) * 16000))
            levels.setdefault(name, {True: [], False: []})[phone == "SIL"].append(float(np.mean(wav**2)))
        ratios += [10 * np.log10(np.median(by[False]) / np.median(by[True])) for by in levels.values()]
    assert min(ratios) > 3 and 8 < np.median(ratios) < 30


def test_librispeech_frame_labels_fit_audio_and_lists(tiny_librispeech):
    folder, by_name = tiny_librispeech / "phone_labels", utterances(tiny_librispeech)
    lines = [line.split(" ") for line in (folder / "converted_aligned_phones.txt").read_text().splitlines()]
    train, test = ((folder / f"{part}_split.txt").read_text().split("\n") for part in ("train", "test"))
    assert sorted(train + test) == sorted(name for name, *_ in lines)
    assert not set(train) & set(test) and len(test) == len(lines) // 5
    for name, *labels in lines:
        path = by_name[name][0]
        assert path.parts[-4] == "train-clean-100"
        assert len(labels) == soundfile.info(path).frames // 160
        assert labels[0] == labels[-1] == "0" and len(set(labels)) > 5 and max(map(int, labels)) < len(FRAME_CLASSES)


def test_librispeech_tables_have_the_official_columns(tiny_librispeech):
    root = tiny_librispeech / "LibriSpeech"
    rows = [line for line in (root / "SPEAKERS.TXT").read_text().splitlines() if not line.startswith(";")]
    readers = {row.split("|")[0].strip(): [field.strip() for field in row.split("|")[1:]] for row in rows}
    assert set(readers) == {path.parts[-3] for path, _ in utterances(tiny_librispeech).values()}
    for sex, subset, minutes, _ in readers.values():
        assert sex in ("F", "M") and (root / subset).is_dir() and float(minutes) > 0
    chapters = [line for line in (root / "CHAPTERS.TXT").read_text().splitlines() if not line.startswith(";")]
    assert {line.split("|")[0].strip() for line in chapters} == {path.parts[-2] for path, _ in utterances(tiny_librispeech).values()}


def test_librispeech_lexicon_has_all_words_in_the_phones_of_the_task(tiny_librispeech):
    lexicon = dict(line.split("\t") for line in (tiny_librispeech / "lexicon.txt").read_text().splitlines())
    assert set(lexicon) == {word.upper() for word in texts.vocabulary()}
    for phone in {phone for phones in lexicon.values() for phone in phones.split()}:
        assert without_stress(phone) in FRAME_CLASSES[2:]
        assert (phone[-1] in "012") == (without_stress(phone) in VOWELS)
    assert lexicon["SILVER"] == "S IH1 L V ER0" and lexicon["THE"] == "DH AH0" and lexicon["QUEEN"] == "K W IY1 N"


# --- Writing


def test_equal_seeds_give_equal_bytes(tiny_speech_commands, tmp_path):
    assert digest(synthesize("speech_commands", tmp_path / "again")) == digest(tiny_speech_commands)


def test_a_smaller_corpus_is_the_beginning_of_a_larger_one_and_seeds_differ(tiny_librispeech, tmp_path):
    chapter = Item("chapter", "dev-clean", 0, 0)
    assert chapter.key in {item.key for item in librispeech.plan(40)}
    tiny = digest(tiny_librispeech)
    for seed in (0, 1):
        librispeech.render(chapter, 40, seed, tmp_path / str(seed))
        large = digest(tmp_path / str(seed))
        assert len(large) == librispeech.utterances_per_chapter(40) + 1 > librispeech.utterances_per_chapter(2) + 1
        same = [large[path] == tiny[path] for path in large if path.endswith(".flac") and path in tiny]
        assert len(same) == 3 and (all(same) if seed == 0 else not any(same))


def test_a_complete_corpus_is_left_alone(tiny_speech_commands):
    before = {path: path.stat().st_mtime_ns for path in tiny_speech_commands.rglob("*")}
    synthesize("speech_commands", tiny_speech_commands)
    assert {path: path.stat().st_mtime_ns for path in tiny_speech_commands.rglob("*")} == before


def test_wrong_names_and_numbers_are_errors(tmp_path):
    with pytest.raises(UnknownNameError, match="corpus 'librispech'; did you mean 'librispeech'"):
        synthesize("librispech", tmp_path)
    for size in ("tini", 0, "-3", "1.5"):
        with pytest.raises(UsageError, match="neither a number of training speakers nor a name"):
            synthesize("librispeech", tmp_path, size=size)
    with pytest.raises(UsageError, match="seed must not be negative"):
        synthesize("librispeech", tmp_path, seed=-1)


def test_without_the_engine_nothing_is_written_and_one_sentence_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(engine, "_locate", engine._locate.__wrapped__)
    assert synthesize_corpus.main(["--corpus", "speech_commands", "--out", str(tmp_path / "out"), "--jobs", "2"]) == 2
    assert re.fullmatch(r"speech synthesis needs the package 'espeakng-loader'.*pip install espeakng-loader\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_every_corpus_has_the_three_sizes_and_unique_items():
    for name in CORPORA:
        corpus = corpus_named(name)
        assert list(corpus.sizes) == ["tiny", "small", "medium"]
        keys = [item.key for item in corpus.plan(corpus.sizes["small"])]
        assert len(keys) == len(set(keys))


def test_the_program_prints_one_line_and_sentences_for_errors(tiny_librispeech, capsys):
    arguments = ["--corpus", "librispeech", "--out", str(tiny_librispeech), "--jobs", "1", "--size"]
    assert synthesize_corpus.main([*arguments, "tiny"]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"librispeech: 24 audio files in .* \(\d+ s\)\n", captured.out)
    assert synthesize_corpus.main([*arguments, "3"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "--overwrite" in captured.err


def test_the_program_with_two_processes_writes_the_same_bytes(repo, tiny_librispeech, tmp_path):
    program = [sys.executable, "preprocess/synthesize_corpus.py"]
    options = ["--corpus", "librispeech", "--out", str(tmp_path), "--size", "tiny", "--jobs", "2"]
    result = subprocess.run(program + options, cwd=repo, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("librispeech: 24 audio files")
    assert digest(tmp_path) == digest(tiny_librispeech)
