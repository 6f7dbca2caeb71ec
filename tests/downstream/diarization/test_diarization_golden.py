"""Chunks, labels, loss, counts and expert against S3PRL's recorded outputs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from downstream.diarization.dataset import DiarizationDataset, Framing, chunk_ranges
from downstream.diarization.expert import DownstreamExpert
from downstream.diarization.kaldi import read_kaldi_folder
from downstream.diarization.pit import count_frames, orders, pit_loss
from utility.audio.io import save_audio
from utility.experiment import checkpoint


def read(folder: Path, *names: str) -> list[Any]:
    return [json.loads((folder / f"{name}.json").read_text()) for name in names]


def test_recorded_chunks(golden):
    params, outputs = read(golden("tasks/batching/diarization_chunks"), "params", "outputs")
    assert len(outputs) == 42
    for (frames, size, step, use_last, delay, subsampling), expected in zip(params["items"], outputs, strict=True):
        assert subsampling == 1
        assert [list(edges) for edges in chunk_ranges(frames, size, step, use_last, delay)] == expected["train_dev"]
        assert [list(edges) for edges in chunk_ranges(frames, size, step)] == expected["test"]


@pytest.fixture
def labelled(golden, tmp_path: Path) -> tuple[Path, Path, dict]:
    """The recorded Kaldi folder with its recordings: a ramp, sample i being i / 32768."""
    folder = golden("tasks/batching/diarization_labels")
    (params,) = read(folder, "params")
    for file in (folder / "files").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    for name, samples in params["samples"].items():
        save_audio(tmp_path / f"wav/{name}.wav", np.arange(samples) / 32768, 16000)
    return folder, tmp_path, params["datarc"]


@pytest.mark.parametrize("published", [True, False])
def test_recorded_labels(labelled, published: bool):
    """S3PRL's, with the switch; without it, the turn that covers whole chunks of rC is in them as well."""
    folder, data, datarc = labelled
    (outputs,) = read(folder, "outputs")
    arrays = np.load(folder / "outputs.npz")
    framing = Framing(datarc["rate"], datarc["frame_shift"], datarc["chunk_size"], datarc["num_speakers"], published)
    recordings = read_kaldi_folder(data)
    train, test = (DiarizationDataset(recordings, framing, whole) for whole in (False, True))
    assert (len(train), len(test)) == (len(outputs["train"]), len(outputs["test"])) == (10, 3)
    whole = 0
    for number, expected in enumerate(outputs["train"]):
        ((wav, labels, place),) = train[number]
        name, start, end = expected["chunk"]
        assert place == (name, start)
        assert (len(wav), len(labels)) == (expected["wav_len"], end - start)
        assert wav[0] * 32768 == expected["first_sample_times_32768"]
        recorded = arrays[f"train_{number}"]
        if not published and name == "rC" and start > 0 and end < 50:
            recorded, whole = recorded.copy(), whole + 1
            recorded[:, 0] = 1
        assert np.array_equal(labels, recorded)
    assert whole == (0 if published else 3)
    for number, expected in enumerate(outputs["test"]):
        item = test[number]
        assert [place[0] for *_, place in item] == [expected["rec"]] * len(expected["chunks"])
        assert [len(wav) for wav, *_ in item] == expected["wav_lens"]
        if published:
            for part, (_, labels, _) in enumerate(item):
                assert np.array_equal(labels, arrays[f"test_{number}_{part}"])


@pytest.mark.parametrize("case", ["pit_two_speakers", "pit_three_speakers", "pit_silence_only"])
def test_recorded_loss(golden, case: str):
    folder = golden(f"tasks/losses/{case}")
    params, expected = read(folder, "params", "outputs")
    inputs, outputs = (np.load(folder / f"{name}.npz") for name in ("inputs", "outputs"))
    logits, labels = torch.from_numpy(inputs["logits"]).requires_grad_(), torch.from_numpy(inputs["labels"])
    lengths = torch.tensor(params["lengths"])
    loss, ordered = pit_loss(logits, labels, lengths)
    loss.backward()
    np.testing.assert_allclose(loss.item(), outputs["loss"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits.grad, outputs["grad"], rtol=1e-4, atol=1e-5)
    chosen = [list(expected["perm_list"])[index] for index in expected["perm_index"]]
    assert [list(order) for order in orders(logits.size(-1))] == expected["perm_list"]
    for item, (order, length) in enumerate(zip(chosen, params["lengths"], strict=True)):
        assert torch.equal(ordered[item, :length], labels[item, :length, order])
        np.testing.assert_array_equal(ordered[item, :length].numpy(), outputs["label_perm"][item, :length])
    counts = count_frames(logits, ordered, lengths)
    for ours, theirs in (
        (counts.scored, "speaker_scored"),
        (counts.missed, "speaker_miss"),
        (counts.false_alarm, "speaker_falarm"),
        (counts.confusion, "speaker_error"),
        (counts.right, "correct"),
        (counts.frames, "num_frames"),
    ):
        assert ours == pytest.approx(expected[theirs], rel=1e-6)
    assert counts.der == pytest.approx(expected.get("DER", 0))
    assert counts.accuracy == pytest.approx(expected.get("ACC", 0))


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


@pytest.mark.parametrize("case", ["diarization_dev", "diarization_test"])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, case: str):
    """Step and logs of S3PRL's expert; its checkpoint is loaded. Features are matched to labels as it does, with ``published``."""
    folder = golden(f"tasks/heads/{case}")
    params, expected = read(folder, "params", "outputs")
    saved = checkpoint.load(folder / "state.pt")
    config = saved["Config"]["downstream_expert"]
    config["datarc"]["published"] = True
    expert = DownstreamExpert(params["upstream_dim"], params["upstream_rate"], config, str(tmp_path), mode="evaluate")
    expert.load_state_dict(saved["Downstream"])
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features, labels = ([torch.from_numpy(arrays[f"{kind}_{item}"]) for item in range(params["n"])] for kind in ("feat", "label"))

    np.testing.assert_allclose(expert.logits(features, params["lengths"]).detach(), outputs["logits"], rtol=1e-4, atol=1e-5)
    records: dict[str, list] = defaultdict(list)
    loss = expert(params["split"], features, labels, [("utt", start) for start in (0, 30, 60)], records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    for name, values in expected["records"].items():
        assert records[name] == pytest.approx(values, rel=1e-4)

    monkeypatch.setattr(expert, "corpus_of", lambda split: [])
    log = Log()
    outcome = expert.log_records(params["split"], records, log, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    assert outcome.save_names == expected["save_names"]
    assert expert.best_score.item() == pytest.approx(expected["best_score_after"])
    assert log == expected["tensorboard_scalars"]
    assert (tmp_path / "frame_shift").read_text() == (folder / "outputs_files/frame_shift").read_text()
    if "T_hat" in outputs:
        np.testing.assert_allclose(np.load(tmp_path / "scoring/predictions/utt.npy"), outputs["T_hat"], rtol=1e-4, atol=1e-5)


def test_predictions_end_with_the_recording(golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without ``published`` the shorter last chunk is not prolonged: S3PRL's T_hat without the 16 frames of padding."""
    folder = golden("tasks/heads/diarization_test")
    saved = checkpoint.load(folder / "state.pt")
    expert = DownstreamExpert(6, 160, saved["Config"]["downstream_expert"], str(tmp_path), mode="evaluate")
    expert.load_state_dict(saved["Downstream"])
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features, labels = ([torch.from_numpy(arrays[f"{kind}_{item}"]) for item in range(3)] for kind in ("feat", "label"))
    records: dict[str, list] = defaultdict(list)
    expert("test", features, labels, [("utt", start) for start in (60, 0, 30)], records=records)
    monkeypatch.setattr(expert, "corpus_of", lambda split: [])
    expert.log_records("test", records, Log(), 0, [0], 1)
    found = np.load(tmp_path / "scoring/predictions/utt.npy")
    assert found.shape == (25 + 25 + 9, 2)
    # Chunks are put in order of time. To the 24 frames of the last one S3PRL adds zeros, ours repeats the last frame.
    expected = np.concatenate([outputs["T_hat"][25:50], outputs["T_hat"][50:59], outputs["T_hat"][:24]])
    np.testing.assert_allclose(found[:58], expected, rtol=1e-4, atol=1e-5)
