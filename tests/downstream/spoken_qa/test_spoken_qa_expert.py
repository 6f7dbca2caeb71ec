"""Head, decoding and expert: shapes, independence of the batch, targets, scores, files, errors."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.spoken_qa.decoding import Decoder
from downstream.spoken_qa.expert import DownstreamExpert
from downstream.spoken_qa.model import SpanFinder
from run_downstream import main
from tests.downstream.spoken_qa.layouts import lay_out_nmsqa
from utility.errors import ConfigError, DataError, UnknownNameError


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(expdir: Path, datarc: dict[str, Any] | None = None, modelrc: dict[str, Any] | None = None, **kwargs: Any) -> DownstreamExpert:
    downstream_expert = {"datarc": {"batch_size": 2, **(datarc or {})}, "modelrc": {"dim": 8, "step_ms": 40, **(modelrc or {})}}
    return DownstreamExpert(6, kwargs.pop("upstream_rate", 160), downstream_expert, str(expdir), **kwargs)


def peaks(steps: int, **at: float) -> torch.Tensor:
    logits = torch.zeros(steps)
    for place, value in at.items():
        logits[int(place[1:])] = value
    return logits


# --- decoding


def test_the_likeliest_span_and_its_time():
    start, end, score = Decoder()(peaks(20, _4=30), peaks(20, _6=30), 0.02)
    assert (start, end) == (pytest.approx(0.08), pytest.approx(0.14))
    assert score == pytest.approx(1, abs=1e-6)


def test_the_end_counts_more_than_the_start():
    starts, ends = peaks(20, _4=6, _8=5), peaks(20, _6=5, _10=6)
    starts[5:8] = ends[7:10] = -9
    assert Decoder(candidates=2, longest_seconds=3)(starts, ends, 1.0)[:2] == (8, 11)


@pytest.mark.parametrize(("candidates", "expected"), [(1, (2.0, 3.0)), (3, (2.0, 3.0)), (0, (2.0, 3.0))])
def test_end_before_start_and_too_long_answers_are_passed_over(candidates: int, expected: tuple):
    starts, ends = peaks(30, _20=9, _2=8), peaks(30, _10=9, _2=5)
    starts[11:20], starts[21:], ends[11:] = -50, -50, -50
    ends[3:10] = -50
    assert Decoder(candidates, longest_seconds=5)(starts, ends, 1.0)[:2] == expected


def test_all_pairs_equal_brute_force():
    torch.manual_seed(0)
    for _ in range(30):
        steps, longest = int(torch.randint(1, 15, ())), int(torch.randint(1, 15, ()))
        starts, ends = torch.randn(2, steps)
        found = Decoder(candidates=0, longest_seconds=longest)(starts, ends, 1.0)
        p, q = starts.log_softmax(0), ends.log_softmax(0)
        pairs = [(float(0.4 * p[i] + 0.6 * q[j]), i, j) for i in range(steps) for j in range(i, min(steps, i + longest))]
        value, i, j = max(pairs)
        assert found == (i, j + 1, pytest.approx(np.exp(value), rel=1e-5))


def test_a_single_step():
    assert Decoder()(torch.zeros(1), torch.zeros(1), 0.5) == (0, 0.5, pytest.approx(1))


# --- head


def test_padding_and_company_change_nothing(tmp_path: Path):
    torch.manual_seed(0)
    expert = make(tmp_path).eval()
    features = [torch.randn(frames, 6) for frames in (200, 50, 31, 97, 20)]  # passage, two questions, passage, one question
    logits, steps = expert.logits(features, [2, 1])
    assert logits.shape == (2, 3, 50) and steps.tolist() == [50, 50, 24]
    assert torch.isinf(logits[:, 2, 24:]).all() and torch.isfinite(logits[:, 2, :24]).all()
    for item, (passage, question) in enumerate([(0, 1), (0, 2), (3, 4)]):
        alone, _ = expert.logits([features[passage], features[question]], [1])
        torch.testing.assert_close(logits[:, item, : steps[item]], alone[:, 0], rtol=1e-4, atol=1e-5)


def test_the_question_matters():
    torch.manual_seed(0)
    model = SpanFinder(6, dim=8).eval()
    passage, lengths = torch.randn(1, 40, 6), torch.tensor([40])
    answers = [model((passage, lengths), (torch.randn(1, 12, 6), torch.tensor([12])), torch.tensor([0]))[0] for _ in range(2)]
    assert not torch.allclose(*answers, atol=1e-3)


@pytest.mark.parametrize(("rate", "seconds"), [(160, 0.04), (320, 0.04), (640, 0.04), (1000, 0.0625), (100, 0.0375)])
def test_steps_last_about_as_long_for_every_upstream(tmp_path: Path, rate: int, seconds: float):
    assert make(tmp_path, upstream_rate=rate).seconds_per_step == pytest.approx(seconds)


def test_features_without_a_frame(tmp_path: Path):
    expert = make(tmp_path).eval()
    logits, steps = expert.logits([torch.zeros(0, 6), torch.zeros(0, 6)], [1])
    assert logits.shape == (2, 1, 1) and steps.tolist() == [1] and torch.isfinite(logits).all()
    (answer,) = expert.inference([torch.zeros(0, 6), torch.zeros(0, 6)], ["q", "p"])
    assert (answer["start"], answer["end"]) == (0, 0.04)


# --- targets, records, scores


@pytest.mark.parametrize(
    ("span", "expected"),
    [((0, 0.04), (0, 0)), ((0.05, 0.12), (1, 2)), ((0.05, 0.13), (1, 3)), ((0.39, 9), (9, 9)), ((3, 4), (9, 9)), ((0.1, 0.1), (2, 2))],
)
def test_seconds_as_steps(tmp_path: Path, span, expected):
    assert make(tmp_path)._steps_of(span, 10) == expected


def test_loss_is_the_cross_entropy_of_both_ends(tmp_path: Path):
    torch.manual_seed(0)
    expert = make(tmp_path, modelrc={"dropout": 0.0})
    features, records = [torch.randn(200, 6), torch.randn(50, 6)], defaultdict(list)
    loss = expert("train", features, [1], ["q"], [((0.4, 1.0),)], records)
    logits, _ = expert.logits(features, [1])
    by_hand = -(logits[0, 0].log_softmax(0)[10] + logits[1, 0].log_softmax(0)[24]) / 2
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    loss.backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in expert.parameters())
    assert dict(records) == {"loss": [loss.item()]}


def test_it_fits_one_batch(tmp_path: Path):
    torch.manual_seed(0)
    expert = make(tmp_path, modelrc={"dim": 24, "dropout": 0.0})
    rng = torch.Generator().manual_seed(1)
    features = [torch.randn(frames, 6, generator=rng) for frames in (200, 40, 40)]
    spans = [((0.4, 0.8),), ((1.2, 1.6),)]
    optimizer = torch.optim.Adam(expert.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        expert("train", features, [2], ["a", "b"], spans, defaultdict(list)).backward()
        optimizer.step()
    records = defaultdict(list)
    expert.eval()("dev", features, [2], ["a", "b"], spans, records)
    assert records["aos"] == [pytest.approx(1)] * 2


def test_scores_files_and_best_checkpoint(tmp_path: Path, capsys):
    expert = make(tmp_path)
    records = {
        "loss": [1.0, 2.0],
        "aos": [0.25, 0.75],
        "ff1": [0.5, 1.0],
        "filename": ["a", "b"],
        "predict": [(0.0, 0.5, 0.9), (1.0, 2.25, 0.1)],
        "truth": [[[0.0, 1.0]], [[1.0, 2.0], [1.5, 2.0]]],
    }
    log = Log()
    outcome = expert.log_records("dev", records, log, 10, [0, 1], 2)
    assert outcome.save_names == ["dev-best.ckpt"]
    assert {name: (score.value, score.higher_is_better) for name, score in outcome.scores.items()} == {
        "aos": (0.5, True),
        "ff1": (0.75, True),
        "loss": (1.5, False),
    }
    assert capsys.readouterr().out == "dev aos: 0.5\ndev ff1: 0.75\n"
    assert ["spoken_qa/dev-aos", 0.5, 10] in log
    assert (tmp_path / "log.log").read_text() == "dev at step 10: 0.5\nNew best on dev at step 10: 0.5\n"
    assert (tmp_path / "dev_predict.txt").read_text() == "a 0.0000 0.5000 0.9000\nb 1.0000 2.2500 0.1000\n"
    assert (tmp_path / "dev_truth.txt").read_text() == "a 0.0000 1.0000\nb 1.0000 2.0000 1.5000 2.0000\n"
    assert expert.log_records("dev", records, log, 20, [0, 1], 2).save_names == []
    assert expert.log_records("test", {**records, "aos": [1.0]}, log, 20, [0, 1], 2).save_names == []
    again = make(tmp_path)
    again.load_state_dict(expert.state_dict())
    assert again.log_records("dev", records, log, 30, [0, 1], 2).save_names == []


def test_a_useless_first_evaluation_is_still_the_best_one(tmp_path: Path):
    records = {"loss": [1.0], "aos": [0.0], "ff1": [0.0], "filename": ["a"], "predict": [(0.0, 1.0, 0.1)], "truth": [[[2.0, 3.0]]]}
    assert make(tmp_path).log_records("dev", records, Log(), 1, [0], 1).save_names == ["dev-best.ckpt"]


def test_training_logs_the_loss_alone(tmp_path: Path):
    log = Log()
    outcome = make(tmp_path).log_records("train", {"loss": [1.0, 3.0]}, log, 5, [0, 1], 2)
    assert (outcome.save_names, outcome.scores, list(log)) == ([], {}, [["spoken_qa/train-loss", 2.0, 5]])


# --- corpus, config, errors


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return lay_out_nmsqa(tmp_path / "NMSQA")


def test_batches_of_passages_with_their_questions(corpus: Path, tmp_path: Path):
    expert = make(tmp_path, {"root": str(corpus)}, mode="train", runner={"eval_dataloaders": ["dev"]})
    wavs, counts, names, spans = next(iter(expert.get_dataloader("train")))
    assert [len(wav) for wav in wavs] == [48000, 8000, 11200]
    assert (counts, names, spans) == ([2], ["h0", "h1"], [((0.2, 0.6),), ((1.5, 2.5), (1.5, 2.0))])
    assert [len(batch[0]) for batch in expert.get_dataloader("test")] == [4]
    single = make(tmp_path, {"root": str(corpus), "questions_per_passage": 1, "batch_size": 1})
    assert [batch[2] for batch in single.get_dataloader("dev")] == [["h0"], ["h1"]]


def test_training_on_a_split_of_another_name(corpus: Path, tmp_path: Path):
    """It is shuffled, ``train`` is not; the evaluation of the same split is in order."""
    fields = {"root": str(corpus), "questions_per_passage": 1, "batch_size": 1}
    expert = make(tmp_path, fields, runner={"train_dataloader": "dev"})

    def first(split: str, seed: int) -> str:
        torch.manual_seed(seed)
        return next(iter(expert.get_dataloader(split)))[2][0]

    assert {first("dev", seed) for seed in range(8)} == {"h0", "h1"}
    assert {first("train", seed) for seed in range(8)} == {"h0"}
    expert.eval()
    assert {first("dev", seed) for seed in range(8)} == {"h0"}


def test_the_corpus_is_read_once(corpus: Path, tmp_path: Path):
    expert = make(tmp_path, {"root": str(corpus)})
    first = expert.get_dataloader("dev").dataset.groups
    (corpus / "dev/dev-answer-span.csv").unlink()
    assert expert.get_dataloader("dev").dataset.groups is first


def test_splits_are_those_of_the_layout(corpus: Path, tmp_path: Path):
    expert = make(tmp_path, {"root": str(corpus)})
    with pytest.raises(UnknownNameError, match="split 'verified_test'"):
        expert.get_dataloader("verified_test")
    assert "verified_test" in make(tmp_path, {"root": str(corpus), "layout": "slue_sqa5"}).splits


@pytest.mark.parametrize(
    ("datarc", "modelrc", "error", "sentence"),
    [
        ({"layout": "nmqsa"}, {}, UnknownNameError, "layout 'nmqsa'; did you mean 'nmsqa'"),
        ({"rot": "x"}, {}, ConfigError, "unknown field 'rot'; did you mean 'root'"),
        ({}, {"dims": 4}, ConfigError, "unknown field 'dims'; did you mean 'dim'"),
        ({}, {}, ConfigError, "field 'root' is missing"),
        ({"root": 5}, {}, ConfigError, "root must be a text, not 5"),
        ({}, {"dim": 0}, ConfigError, "modelrc: dim must be a whole number of at least 1, not 0"),
        ({}, {"dilations": 2}, ConfigError, "dilations must be a list, each item of it a whole number of at least 1, not 2"),
        ({}, {"context_dilations": [1, "2"]}, ConfigError, "context_dilations must be a list"),
        ({}, {"dropout": -0.1}, ConfigError, "dropout must be a number from 0 to 1, not -0.1"),
        ({}, {"step_ms": "40"}, ConfigError, "step_ms must be a number of at least 0, not '40'"),
        ({}, {"kernel_size": 4}, ConfigError, "kernel_size must be odd, not 4"),
        ({"root": "/nowhere"}, {}, DataError, r"datarc\.root: folder /nowhere does not exist"),
    ],
)
def test_wrong_fields(tmp_path: Path, datarc: dict, modelrc: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, datarc, modelrc, mode="train")


@pytest.mark.parametrize("file", ["config.yaml", "fbank.yaml"])
def test_shipped_configs(repo: Path, tmp_path: Path, file: str):
    config = yaml.safe_load((repo / "downstream/spoken_qa" / file).read_text())
    expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="evaluate", **config)
    assert 0.03 <= expert.seconds_per_step <= 0.08


def test_bad_corpora_end_in_one_sentence(corpus: Path, tmp_path: Path, capsys):
    small = f"config.runner.total_steps=1,,config.downstream_expert.modelrc.dim=8,,config.downstream_expert.datarc.root={corpus}"
    words = ["-u", "fbank", "-d", "spoken_qa", "-p", str(tmp_path / "run"), "--device", "cpu", "-o"]
    (corpus / "train/train_audios/context-0_0_1.wav").write_bytes(b"RIFF nonsense")
    assert main([*words, f"{small},,config.downstream_expert.datarc.num_workers=0"]) == 2
    said = capsys.readouterr().err
    assert "context-0_0_1.wav cannot be read" in said and "Traceback" not in said


def test_inference_takes_pairs(tmp_path: Path):
    torch.manual_seed(0)
    expert = make(tmp_path).eval()
    (answer,) = expert.inference([torch.randn(40, 6), torch.randn(200, 6)], ["q", "p"])
    assert (answer["question"], answer["passage"]) == ("q", "p")
    assert 0 <= answer["start"] < answer["end"] <= 2 and 0 < answer["score"] < 1
    json.dumps(answer)
