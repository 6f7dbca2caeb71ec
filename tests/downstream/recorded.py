"""Outputs that were recorded from S3PRL's experts of whole recordings, compared with ours."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from downstream.blocks.utterance_classifier import UtteranceClassifier

# S3PRL's names of records -> ours.
RENAMED = {"intent_loss": "loss", "predict_speaker": "predict", "truth_speaker": "truth"}
Make = Callable[..., UtteranceClassifier]


class Log(list):
    """Collects what is logged."""

    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def params_of(folder: Path) -> dict[str, Any]:
    """The inputs of a case that are no arrays."""
    return json.loads((folder / "params.json").read_text())


def by_formula(model: torch.nn.Module, scale: float) -> None:
    """Gives a model the weights of the cases that were recorded without them."""
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            place = torch.arange(weight.numel(), dtype=torch.float64)
            weight.copy_((scale * torch.sin(0.37 * place + 0.11 * number)).view_as(weight))


def assert_recorded_step(expert: UtteranceClassifier, folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Logits, loss, gradient, records, logged lines and files of one batch.

    Args:
        expert: with the recorded weights and a new folder for results, its dropout off.
        folder: the case.
    """
    params, expected = params_of(folder), json.loads((folder / "outputs.json").read_text())
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features = [torch.from_numpy(arrays[f"feat_{item}"]) for item in range(params["n"])]
    np.testing.assert_allclose(expert.logits(features).detach(), outputs["logits"], rtol=1e-4, atol=1e-5)

    records: dict[str, list] = defaultdict(list)
    loss = expert(params["split"], features, params["labels"], [f"utt{item}" for item in range(params["n"])], records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    wanted = {RENAMED.get(name, name): values for name, values in expected["records"].items()}
    assert records["loss"] == pytest.approx(wanted.pop("loss"), rel=1e-4)
    joined = {name: [_joined(value, expert.separator) for value in values] for name, values in wanted.items()}
    assert {name: records[name] for name in joined} == joined

    log = Log()
    capsys.readouterr()
    outcome = expert.log_records(params["split"], records, log, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    assert outcome.save_names == expected["save_names"]
    assert expert.best_score.item() == expected["best_score_after"]
    logged = {tag: (value, step) for tag, value, step in log}
    for tag, value, step in expected["tensorboard_scalars"]:
        assert logged[tag] == (pytest.approx(value, rel=1e-4), step)
    assert_same_files(expert.results_dir, folder / "outputs_files")


def _joined(value: Any, separator: str) -> Any:
    return separator.join(value) if isinstance(value, list) else value


def assert_recorded_logs(make: Make, folder: Path, task: str, capsys: pytest.CaptureFixture, answer: Sequence[str] = ("x",)) -> None:
    """What is logged and written over nine evaluations.

    Args:
        make: gives an expert with a new folder for results.
        folder: the case ``logs/log_records``.
        task: which of its experts.
        answer: what stands in the files of answers, by question.
    """
    expert = make()
    expected = json.loads((folder / "outputs.json").read_text())[task]
    for entry, wanted in zip(params_of(folder)["sequence"], expected, strict=True):
        answers = [expert.separator.join(answer)] * 7
        names = [f"f{item}" for item in range(7)]
        records: Mapping[str, list] = {
            "acc": entry["correct"],
            "loss": [entry["loss"]],
            "filename": names,
            "predict": answers,
            "truth": answers,
        }
        outcome = expert.log_records(entry["split"], dict(records), Log(), entry["step"], [0], 1)
        assert (outcome.save_names, capsys.readouterr().out) == (wanted["save_names"], wanted["printed"])
    assert_same_files(expert.results_dir, folder / "outputs_files" / task)


def assert_same_files(found: Path, expected: Path) -> None:
    """A folder has exactly the files of another one, with the same text."""
    assert {path.name: path.read_text() for path in found.iterdir()} == {path.name: path.read_text() for path in expected.iterdir()}
