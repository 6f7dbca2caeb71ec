"""The programs of listening tests against what the public ones wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from downstream.audio_generation.mturk import mos, prepare_sc09, turk_create_batch
from downstream.audio_generation.mturk.opinion import GOLD, music, untrusted
from downstream.audio_generation.mturk.results import read_results

BATCHES = {
    "music30": (
        "youtubemix-unconditional-16s-exp-1",
        ["wavenet-1024", "sashimi-2", "sashimi-8", "samplernn-3", "test"],
        1,
        30,
        "{}.wav",
        0,
        [],
    ),
    "speech20": ("sc09-unconditional-exp-confident-mymodel", ["mymodel"], 5, 20, "{}.wav", 0, []),
    "mixed12": ("cond-x", ["b", "a"], 4, 12, "clip{}.wav", 1, ["--url_templ", "https://example.org/{}/{}/{}.wav"]),
}


def folders_of(root: Path, methods: list[str], names: list[str]) -> Path:
    """A folder of recordings for each method; each file says whose it is."""
    for method in methods:
        (root / method).mkdir(parents=True)
        for name in names:
            (root / method / name).write_text(f"{method} {name}")
    return root


@pytest.mark.parametrize("case", BATCHES)
def test_recorded_batches(golden, tmp_path: Path, case: str):
    folder = golden(f"generation/mturk/{case}")
    condition, methods, size, count, form, first, more = BATCHES[case]
    source = folders_of(tmp_path / "in", methods, [form.format(number) for number in range(first, first + count)])
    words = ["--condition", condition, "--input_dir", str(source), "--output_dir", str(tmp_path / "final"), "--batch_size", str(size)]
    assert turk_create_batch.main([*words, "--methods", *methods, *more]) == 0
    made = tmp_path / "final" / condition
    files = sorted(str(path.relative_to(tmp_path / "final")) for path in made.rglob("*") if path.is_file())
    assert files == sorted((folder / "tree.txt").read_text().split())
    for path in folder.iterdir():
        if path.name != "tree.txt":
            assert (made / path.name).read_bytes() == path.read_bytes(), path.name
    for line in (made / "uids.txt").read_text().splitlines():
        method, name, uid = line.split()
        (copied,) = made.glob(f"*/{uid}.wav")
        assert copied.read_text() == f"{method} {name}"


def test_recorded_opinions_on_music(golden, tmp_path: Path):
    folder = golden("generation/mturk/mos_music")
    expected = json.loads((folder / "expected.json").read_text())
    results = read_results([folder / "results.csv"], folder)
    answers = results.answers
    assert (results.twice, results.rejected, results.left_out()) == (0, 0, "")
    assert len(answers) == expected["rows_total"]
    assert sorted(untrusted(answers, GOLD)) == expected["blocked_workers"]
    unfiltered = mos._plain(music(answers, (), GOLD))
    output = tmp_path / "mos.json"
    assert mos.main([str(folder / "results.csv"), "--batches", str(folder), "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    for question in ("quality", "musicality"):
        for method, numbers in expected[question].items():
            assert found[question][method] == pytest.approx(numbers, rel=1e-9)
        for method, numbers in expected[f"{question}_unfiltered"].items():
            assert unfiltered[question][method] == pytest.approx(numbers, rel=1e-9)
    assert sum(numbers[1] for numbers in found["quality"].values()) == expected["rows_kept"]


def test_recorded_opinions_on_speech(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("generation/mturk/mos_speech")
    expected = json.loads((folder / "expected.json").read_text())
    output = tmp_path / "mos.json"
    words = [str(folder / "results.csv"), "--batches", str(folder), "--per_class", "4", "--output", str(output)]
    assert mos.main(words) == 0
    found = json.loads(output.read_text())
    for name in ("kappa", "agreement"):
        assert found[name] == pytest.approx(expected[name], rel=1e-9)
    for question in ("intelligibility", "quality", "diversity"):
        for method, numbers in expected[question].items():
            assert found[question][method] == pytest.approx(numbers, rel=1e-9)
    assert sum(numbers[1] for numbers in found["quality"].values()) == expected["rows"]
    assert "good: 3.10 ± 0.18 (237 answers)" in capsys.readouterr().out


def test_recorded_choice_of_digits(golden, tmp_path: Path):
    folder = golden("generation/mturk/prepare_sc09")
    samples = tmp_path / "samples/64-mm"
    samples.mkdir(parents=True)
    for number in range(1, 65):
        (samples / f"gen_{number}.wav").write_text(f"gen_{number}.wav")
    words = [
        "--methods",
        "mm",
        "--cache_dir",
        str(folder),
        "--sample_dir",
        str(tmp_path / "samples"),
        "--target_dir",
        str(tmp_path / "out"),
    ]
    words += ["--n_samples", "64", "--samples_per_class", "3"]
    assert prepare_sc09.main(words) == 0
    found = {path.name: path.read_text() for path in (tmp_path / "out/mm").iterdir()}
    assert found == json.loads((folder / "expected_mapping.json").read_text())
    assert prepare_sc09.main(words) == 2  # the folder exists


def test_too_few_of_a_digit_are_said(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "4-m").mkdir()
    for number in range(4):
        (tmp_path / f"4-m/{number}.wav").touch()
    np.save(tmp_path / "4-m-resnext-probs.npy", np.eye(10, dtype=np.float32)[[0, 0, 1, 2]])
    words = ["--methods", "m", "--cache_dir", str(tmp_path), "--sample_dir", str(tmp_path), "--target_dir", str(tmp_path / "out")]
    assert prepare_sc09.main([*words, "--n_samples", "4", "--samples_per_class", "2"]) == 2
    assert "only 1 of 4 recordings are taken for 'one'; 2 are needed" in capsys.readouterr().err
    assert prepare_sc09.main([*words, "--n_samples", "5"]) == 2
    assert "there is no" in capsys.readouterr().err
    np.save(tmp_path / "4-m-resnext-probs.npy", np.eye(10, dtype=np.float32)[[0, 0, 1]])
    assert prepare_sc09.main([*words, "--n_samples", "4"]) == 2
    assert "holds 4 recordings" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
