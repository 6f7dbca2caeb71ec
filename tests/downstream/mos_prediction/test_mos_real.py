"""Real listeners: codecs with their MUSHRA ratings through inference, and published lists of opinion scores through the metrics."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from utility.metrics.mos import by_system, evaluate
from utility.text.files import lines_of, rows_of

LISTS = {"vmc23__track1_answer.txt": 1460, "vmc23__track2_answer.txt": 4040, "vmc23__track3_answer.txt": 2215}


def codec_table(root: Path, place: Path) -> Path:
    """A row per rating, from 0 to 100 there and from 1 to 5 here; recordings are stereo, of 24 kHz."""
    rows = []
    for _, row in rows_of(root / "ratings_formated_filtered.csv", ("signal", "condition", "ratings", "participant_ids", "file")):
        for rating, listener in zip(json.loads(row["ratings"]), json.loads(row["participant_ids"]), strict=True):
            sample = f"{row['signal']}-{row['condition']}"
            rows.append((root / "audio" / row["file"], 1 + rating / 25, row["condition"], sample, f"P{listener}"))
    path = place / "codecs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("wav_path", "score", "system_id", "sample_id", "listener_id"), *rows])
    return path


def test_codecs_are_scored(shared, server, trained, tmp_path):
    table = codec_table(shared / "data/mushra_codec", tmp_path)
    words = f"config.downstream_expert.inference.csv={table},,config.downstream_expert.inference.outdir={tmp_path / 'out'}"
    process = server.run(["-m", "evaluate", "-t", "inference", "-e", str(trained["run"]), "-o", words, "--device", "cpu"], tmp_path)
    assert process.status == 0, process.err
    with (tmp_path / "out/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert len({row["system_id"] for row in rows}) == 8
    assert all(1 < float(row["answer"]) < 5 and 1 <= float(row["avg_score"]) <= 5 for row in rows)
    means = by_system([row["system_id"] for row in rows], [float(row["avg_score"]) for row in rows])
    scores = dict(zip(means[0], means[1][0], strict=True))
    assert scores["Reference"] == max(scores.values()) if "Reference" in scores else max(scores.values()) > 3


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_the_voicemos_challenge(name, shared):
    rows = [line.rsplit(",", 1) for line in lines_of(shared / "data/mos_lists" / name)]
    truth, systems = [float(score) for _, score in rows], [wav.split("-")[1] for wav, _ in rows]
    assert len(rows) == LISTS[name]
    guess = np.array(truth) + np.random.default_rng(0).normal(0, 0.3, len(truth))
    metrics = evaluate(systems, truth, guess.tolist())
    assert metrics["utt_MSE"] == pytest.approx(0.09, abs=0.01)
    assert metrics["utt_SRCC"] > 0.8
    assert metrics["sys_SRCC"] > 0.9
    assert evaluate(systems, truth, truth)["sys_KTAU"] == pytest.approx(1)


def test_the_list_of_tcd_voip_begins_with_a_mark(shared):
    rows = [row for _, row in rows_of(shared / "data/mos_lists/tcd-voip__tcd-voip_answer.csv", ("Filename", "ConditionID", "MOS"))]
    assert len(rows) == 384
    assert rows[0]["Filename"] == "C_01_ECHO_FA.wav"
