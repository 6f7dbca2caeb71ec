"""Kaldi folders of Libri2Mix and of simulated conversations, and the synthetic Libri2Mix."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from downstream.diarization.kaldi import read_kaldi_folder
from preprocess import prepare_diarization, simulate_mixtures
from preprocess.kaldi_folder import Recording, Turn, Written, write_kaldi_folder
from preprocess.mixtures import Utterance, conversation, overlap_of, speech_in
from tests.support.corpora import synthetic
from utility.audio.io import audio_info, load_audio, save_audio
from utility.metrics.rttm import read_rttm

RATE = 16000


def test_the_six_files(tmp_path: Path):
    turns = (Turn(0.5, 2.0, "9"), Turn(0.5, 2.0, "10"), Turn(3.25, 4.0, "9"))
    assert write_kaldi_folder(tmp_path, [Recording("m", Path("/x/m.wav"), 4.5, turns)]) == Written(3)
    read = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert read == {
        "wav.scp": "m /x/m.wav\n",
        "reco2dur": "m 4.50000\n",
        "segments": "m_000500_002000 m 0.500 2.000\nm_000500_002000_2 m 0.500 2.000\nm_003250_004000 m 3.250 4.000\n",
        "utt2spk": "m_000500_002000 10\nm_000500_002000_2 9\nm_003250_004000 9\n",
        "spk2utt": "10 m_000500_002000\n9 m_000500_002000_2 m_003250_004000\n",
        "rttm": "".join(
            f"SPEAKER\tm\t1\t{start}\t{duration}\t<NA>\t<NA>\t{who}\t<NA>\n"
            for start, duration, who in (("0.500", "1.500", 10), ("0.500", "1.500", 9), ("3.250", "0.750", 9))
        ),
    }


@pytest.fixture
def libri2mix(tmp_path: Path) -> tuple[Path, Path]:
    """One mixture in each part; folders of the metadata and of the speech activity."""
    metadata, activity = tmp_path / "Libri2Mix/wav16k/max/metadata", tmp_path / "metadata"
    metadata.mkdir(parents=True)
    activity.mkdir()
    for part, stem in prepare_diarization.PARTS.values():
        save_audio(metadata.parent / part / "mix_both/10-1-0001_20-2-0002.wav", np.zeros(3 * RATE), RATE)
        (metadata / f"mixture_{part}_mix_both.csv").write_text(
            "mixture_ID,mixture_path,source_1_path,source_2_path,noise_path,length\n10-1-0001_20-2-0002,/moved/x.wav,a,b,c,48000\n"
        )
        (activity / f"{stem}.rttm").write_text(
            "SPEAKER 1-0001 1 0.28 1.00 <NA> <NA> 10 <NA> <NA>\nSPEAKER 1-0001 1 1.50 9.00 <NA> <NA> 10 <NA> <NA>\n"
            "SPEAKER 2-0002 1 0.50 1.25 <NA> <NA> 20 <NA> <NA>\n"
        )
    return metadata, activity


def prepare(libri2mix: tuple[Path, Path], out: Path) -> int:
    return prepare_diarization.main(["--target_dir", str(out), "--source_dir", str(libri2mix[0]), "--rttm_dir", str(libri2mix[1])])


def test_libri2mix_is_prepared(libri2mix, tmp_path: Path):
    """The mixture was moved since, which is found out; a turn ends with the mixture."""
    assert prepare(libri2mix, tmp_path / "data") == 0
    name = "10-1-0001_20-2-0002"
    for split, part in (("train", "train-100"), ("dev", "dev"), ("test", "test")):
        folder = tmp_path / "data" / split
        assert (folder / "wav.scp").read_text() == f"{name} {libri2mix[0].parent}/{part}/mix_both/{name}.wav\n"
        assert (folder / "reco2dur").read_text() == f"{name} 3.00000\n"
        assert (folder / "segments").read_text().splitlines()[-1] == f"{name}_001500_003000 {name} 1.500 3.000"
        assert (folder / "utt2spk").read_text().splitlines()[1] == f"{name}_000500_001750 20"
        assert {who: turns.tolist() for who, turns in read_rttm(folder / "rttm")[name].items()} == {
            "10": [[0.28, 1.28], [1.5, 3.0]],
            "20": [[0.5, 1.75]],
        }


def test_turns_without_duration_are_left_out_and_counted(libri2mix, tmp_path: Path, capsys):
    """One has none, one is cut to 0.4 ms by the end of the mixture; the task refuses a segment that ends where it starts."""
    with (tmp_path / "metadata/dev_clean.rttm").open("a") as file:
        file.write("SPEAKER 2-0002 1 2.00 0.00 <NA> <NA> 20 <NA> <NA>\nSPEAKER 2-0002 1 2.9996 1.00 <NA> <NA> 20 <NA> <NA>\n")
    assert prepare(libri2mix, tmp_path / "data") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("train: 1 mixtures, 3 segments in ")
    assert said[1].startswith("dev: 1 mixtures, 3 segments (without 2 turns of less than a millisecond) in ")
    (recording,) = read_kaldi_folder(tmp_path / "data/dev")
    assert len(recording.turns) == 3


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("metadata/dev_clean.rttm", "2-0002", "2-0003", "no line for 2-0002, a source of the mixture 10-1-0001_20-2-0002"),
        ("metadata/dev_clean.rttm", None, "", "dev_clean.rttm holds no speaker turn"),
        ("Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv", "48000", "many", "has the length 'many'"),
        ("Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv", "length", "len", "has no column length"),
        ("Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv", "10-1-0001_20-2-0002", "1-1-0001_20-2-0002", "does not exist, nor does"),
    ],
)
def test_a_wrong_libri2mix(libri2mix, tmp_path: Path, capsys, file: str, old: str | None, new: str, says: str):
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text.replace(old, new) if old else new)
    assert prepare(libri2mix, tmp_path / "data") == 2
    assert says in capsys.readouterr().err


def test_a_libri2mix_that_is_not_there(tmp_path: Path, libri2mix, capsys):
    assert prepare((tmp_path, libri2mix[1]), tmp_path / "data") == 2
    assert "there is no table of mixtures" in capsys.readouterr().err
    assert prepare((libri2mix[0], tmp_path), tmp_path / "data") == 2
    assert "there is no speech activity" in capsys.readouterr().err


def utterance(who: str, seconds: float, level: float = 0.1) -> Utterance:
    return Utterance(np.full(round(seconds * RATE), level), RATE, np.array([[0.0, seconds]]), who)


@pytest.mark.parametrize("wanted", [0.0, 0.15, 0.3])
def test_overlap_and_levels_are_as_wanted(wanted: float):
    for number in range(10):
        rng = np.random.default_rng(number)
        spoken = [utterance("a", 2), utterance("a", 3, 0.5), utterance("b", 2.5), utterance("b", 1.5)]
        mixture = conversation(rng, spoken, wanted)
        assert overlap_of(list(mixture.turns.values())) == pytest.approx(wanted, abs=0.02)
        assert {who: turns[:, 1].sum() - turns[:, 0].sum() for who, turns in mixture.turns.items()} == pytest.approx({"a": 5, "b": 4})
        assert np.allclose(sum(mixture.sources.values()), mixture.wav, atol=1e-6)
        for who, source in mixture.sources.items():
            heard = np.concatenate([source[round(a * RATE) : round(b * RATE)] for a, b in mixture.turns[who]])
            assert -33.2 < 20 * np.log10(np.sqrt(np.mean(heard**2))) < -24.8
            silent = np.ones(len(source), bool)
            for a, b in mixture.turns[who]:
                silent[round(a * RATE) - 1 : round(b * RATE) + 1] = False
            assert not source[silent].any()


def test_speakers_that_begin_together():
    mixture = conversation(np.random.default_rng(0), [utterance("a", 2), utterance("b", 3)], None, noise=np.ones(100))
    assert {who: turns.tolist() for who, turns in mixture.turns.items()} == {"a": [[0, 2]], "b": [[0, 3]]}
    assert len(mixture.wav) == 3 * RATE
    assert np.abs(mixture.wav).max() <= 0.9


def test_speech_is_found_by_its_energy():
    rng = np.random.default_rng(0)
    wav = 0.003 * rng.standard_normal(4 * RATE)
    for start, end in ((0.5, 1.5), (1.6, 2.0), (3.0, 3.6)):
        wav[int(start * RATE) : int(end * RATE)] += 0.3 * rng.standard_normal(int(end * RATE) - int(start * RATE))
    assert speech_in(wav, RATE) == pytest.approx(np.array([[0.5, 2.0], [3.0, 3.6]]), abs=0.05)
    assert speech_in(np.zeros(10), RATE).tolist() == [[0, 10 / RATE]]


def simulate(shared: Path, out: Path, *more: str) -> int:
    return simulate_mixtures.main(["--speech", str(shared / "data/timit_sample"), "--out", str(out), "--mixtures", "3", *more])


def test_conversations_of_real_speakers(shared: Path, tmp_path: Path, capsys):
    assert simulate(shared, tmp_path / "one") == 0
    assert "3 mixtures" in capsys.readouterr().out
    assert simulate(shared, tmp_path / "two") == 0
    first, second = (sorted(path.read_bytes() for path in (tmp_path / name / "wav").iterdir()) for name in ("one", "two"))
    assert first == second
    turns = read_rttm(tmp_path / "one/rttm")
    for name, path in (line.split(None, 1) for line in (tmp_path / "one/wav.scp").read_text().splitlines()):
        assert len(turns[name]) == 2
        assert max(times.max() for times in turns[name].values()) <= audio_info(path).seconds
    assert simulate(shared, tmp_path / "three", "--aligned", "--utterances", "1", "--noise", str(shared / "data/cmu_arctic_mini")) == 0
    assert all(min(times.min() for times in speakers.values()) == 0 for speakers in read_rttm(tmp_path / "three/rttm").values())


def test_speakers_that_are_folders_in_folders(shared: Path, tmp_path: Path):
    """Their slashes and spaces come into no id, since ids are names of files."""
    for number, folder in enumerate(sorted(path for path in (shared / "data/timit_sample").iterdir() if path.is_dir())[:2]):
        (tmp_path / f"speech/region 1/{number}").mkdir(parents=True)
        for path in sorted(folder.glob("*.wav"))[:2]:
            (tmp_path / f"speech/region 1/{number}" / path.name).write_bytes(path.read_bytes())
    words = ["--speech", tmp_path / "speech", "--out", tmp_path / "out", "--mixtures", 1, "--speaker", "^(.+)/[^/]+$"]
    assert simulate_mixtures.main(list(map(str, words))) == 0
    (name,) = read_rttm(tmp_path / "out/rttm")
    assert name == "000000_region-1-0_region-1-1"
    assert (tmp_path / f"out/wav/{name}.wav").is_file()


def test_conversations_that_cannot_be(shared: Path, tmp_path: Path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "x.rttm").write_text("SPEAKER other 1 0 1 <NA> <NA> s <NA>\n")
    for out, more, says in (
        ("full", [], "is not empty"),
        ("a", ["--speakers", "11"], "has 10 speakers"),
        ("b", ["--speaker", "("], "is no regular expression"),
        ("c", ["--speaker", "x"], "has no group"),
        ("d", ["--speaker", "(qq)"], "fits no path"),
        ("e", ["--overlap", "0.9"], "--overlap must lie between 0 and 0.6"),
        ("f", ["--mixtures", "0"], "--mixtures must be at least 1"),
        ("g", ["--rttm", str(tmp_path / "x.rttm")], "--rttm has no line for s"),
    ):
        assert simulate(shared, tmp_path / out, *more) == 2
        assert says in capsys.readouterr().err


def test_speech_activity_of_other_recordings(tmp_path: Path, capsys):
    for who in "ab":
        save_audio(tmp_path / f"speech/{who}/{who}.wav", np.full(8000, 0.1), 16000)
    (tmp_path / "x.rttm").write_text("".join(f"SPEAKER {who} 1 5 1 <NA> <NA> {who} <NA>\n" for who in "ab"))
    words = ["--speech", tmp_path / "speech", "--out", tmp_path / "out", "--rttm", tmp_path / "x.rttm", "--utterances", 1]
    assert simulate_mixtures.main(list(map(str, words))) == 2
    assert " within its 0.5 s" in capsys.readouterr().err


def test_synthetic_libri2mix(tmp_path: Path, capsys):
    """The official layout; what the speech activity calls silence is silent but for the noise, and the splits share no speaker."""
    corpus = synthetic("libri2mix", tmp_path / "corpus")
    data = tmp_path / "data"
    words = ["--source_dir", corpus / "Libri2Mix/wav16k/max/metadata", "--rttm_dir", corpus / "metadata/LibriSpeech"]
    assert prepare_diarization.main(["--target_dir", str(data), *map(str, words)]) == 0
    speakers, overlaps = {}, []
    for split, (part, _) in prepare_diarization.PARTS.items():
        with (corpus / f"Libri2Mix/wav16k/max/metadata/mixture_{part}_mix_both.csv").open() as file:
            rows = list(csv.DictReader(file))
        turns = read_rttm(data / split / "rttm")
        assert sorted(turns) == sorted(row["mixture_ID"] for row in rows)
        speakers[split] = {who for own in turns.values() for who in own}
        overlaps += [overlap_of(list(own.values())) for own in turns.values()]
        for row in rows:
            assert (corpus / row["mixture_path"]).is_file()
            wav = load_audio(corpus / row["mixture_path"])
            assert len(wav) == int(row["length"])
            assert len(turns[row["mixture_ID"]]) == 2
    assert not speakers["train"] & speakers["dev"]
    assert not (speakers["train"] | speakers["dev"]) & speakers["test"]
    assert 0.15 < np.mean(overlaps) < 0.45
