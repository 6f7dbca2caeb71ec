"""Pre-training learns, its checkpoints are upstreams, and what cannot be is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from torch.nn.utils.rnn import pad_sequence

from downstream.blocks.pretraining.frame_models import absolute_errors
from run_downstream import main
from tests.downstream.pretraining.layouts import DATA, SMALL, TASKS, UPSTREAM, folder, override, sound, stepped
from upstream.registry import build
from utility.experiment.checkpoint import load
from utility.features.frames import frames_of
from utility.features.hamming_fbank import hamming_fbank

READERS = {"apc": "apc_local", "vq_apc": "vq_apc_local", "npc": "npc_local"}
READERS |= {name: f"{name}_local" for name in ("mockingjay", "tera", "audio_albert")}
RUNNER = (
    "config.runner.tensorboard=False,,{DATA}.num_workers=0,,config.runner.gradient_accumulate_steps=1,,config.runner.log_step=50,,"
    "config.runner.total_steps={steps},,config.runner.eval_step={steps},,config.runner.save_step={steps}"
)
AHEAD = 5
SOON = {"apc": 60, "tera": 80}  # updates in the default run; the others are among the slow tests


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return folder(tmp_path_factory.mktemp("sounds"), train=24, dev=6)


def words(name: str, root: Path, place: Path, steps: int, *more: str) -> list[str]:
    place.mkdir(exist_ok=True)
    options = [RUNNER.format(DATA=DATA, steps=steps), override(root, name, f"{DATA}.train_batch_size=8", *more)]
    return ["-u", "waveform", "-d", f"pretrain_{name}", "-c", str(stepped(place, name)), "-p", str(place / "run"), "-o", ",,".join(options)]


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["split"] == "dev"}


def trivial(root: Path, name: str) -> dict[str, float]:
    """Mean absolute errors on dev of the mean, which is 0, and of the frame five before, for the frames that the task reads."""
    wavs = [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in sorted((root / "dev").rglob("*.wav"))[1:]]
    settings = yaml.safe_load((TASKS / f"pretrain_{name}/config.yaml").read_text())["downstream_expert"]["upstream_config"]
    if "data" in settings:
        frames, lengths = hamming_fbank(settings["data"]["audio"])(wavs)
    else:
        items, lengths = frames_of(settings["audio"], name).items(wavs)
        frames = pad_sequence(items, batch_first=True)
    answers = {
        "mean": (torch.zeros_like(frames), frames, lengths),
        "frame before": (frames[:, :-AHEAD], frames[:, AHEAD:], lengths - AHEAD),
    }
    found = {answer: absolute_errors(*given) for answer, given in answers.items()}
    return {answer: float(sums.sum() / counts.sum()) for answer, (sums, counts) in found.items()}


@pytest.mark.parametrize("name", [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in READERS])
def test_it_learns_and_its_checkpoint_is_an_upstream(name, root, tmp_path):
    """The loss on dev falls below that of any trivial answer; the file is no larger than with the weights once."""
    steps = SOON.get(name, 120)
    rates = ("config.optimizer.lr=3e-3",) if "transformer" in SMALL[name] else ("config.optimizer.lr=1e-2",)
    assert main([*words(name, root, tmp_path, steps, *rates), "--device", "cpu"]) == 0
    beaten, loss = trivial(root, name), losses(tmp_path / "run")[steps]
    print(f"{name}: {loss:.3f}; {beaten}")
    assert loss < 0.97 * min(beaten.values())
    ckpt = tmp_path / "run/dev-best.ckpt"
    upstream, state = build(READERS[name], ckpt=str(ckpt)).eval(), load(ckpt)
    own = {key.removeprefix("model."): value for key, value in state["Downstream"].items() if key.startswith("model.")}
    for key, value in upstream.model.state_dict().items():
        assert torch.equal(value, own[key])
    wavs = [torch.from_numpy(sound(0.4, seed)) for seed in (70, 71)]
    with torch.no_grad():
        assert torch.isfinite(pad_sequence(list(upstream(wavs)["last_hidden_state"]))).all()
    weights = sum(value.numel() * 4 for value in own.values())
    moments = sum(v.numel() * 4 for entry in state["Optimizer"]["state"].values() for v in entry.values() if isinstance(v, torch.Tensor))
    assert ckpt.stat().st_size < 1.5 * (weights + moments) + 200_000


def test_the_upstream_is_used_by_another_task(root, tmp_path):
    assert main([*words("apc", root, tmp_path, 2), "--device", "cpu"]) == 0
    tiny = "config.runner.total_steps=1,,config.runner.eval_step=1,,config.runner.save_step=1,,config.runner.log_step=1"
    sizes = "config.downstream_expert.datarc.sizes={'train':2,'dev':1,'test':1},,config.runner.tensorboard=False"
    flags = ["-u", "apc_local", "-k", str(tmp_path / "run/dev-best.ckpt"), "-d", "example", "-p", str(tmp_path / "other")]
    assert main([*flags, "-o", f"{tiny},,{sizes}", "--device", "cpu"]) == 0


def test_long_recordings_are_cut_at_random_and_short_ones_come_whole(root, tmp_path):
    """A stretch is shorter than a recording; the run is the same twice."""
    for name, section in (("apc", "task"), ("tera", "task")):
        for folder_ in ("one", "two"):
            line = words(name, root, tmp_path / f"{name} {folder_}", 2, f"{UPSTREAM}.{section}.sequence_length=30")
            assert main([*line, "--device", "cpu"]) == 0
        one, two = (load(tmp_path / f"{name} {folder_}/run/states-2.ckpt")["Downstream"] for folder_ in ("one", "two"))
        assert all(torch.equal(value, two[key]) for key, value in one.items())


FAULTS = [
    ("apc", (), ["-u", "fbank"], "pretrain_apc makes its features itself, out of samples: -u waveform"),
    ("apc", (), ["-f"], "pretrain_apc trains a network of its own, out of what the upstream gives; -f has no place here"),
    ("apc", (f"{DATA}.train=['elsewhere']",), [], "has no folder 'elsewhere'"),
    ("apc", (f"{DATA}.dev=['train']",), [], "recordings of dev are trained on, such as train/speaker/"),
    ("apc", (f"{DATA}.dev=None",), [], "field 'dev' is missing"),
    ("apc", (f"{DATA}.file_path=nowhere",), [], "there is no table of lengths nowhere/train.csv"),
    ("apc", (f"{DATA}.max_timestep=3",), [], "max_timestep leaves no recording of train"),
    ("apc", (f"{DATA}.train_batch_size=0",), [], "train_batch_size must be a whole number of at least 1"),
    ("apc", (f"{UPSTREAM}.model.paras.hiden_size=3",), [], "hidden_size"),
    ("apc", (f"{UPSTREAM}.task.n_future=0",), [], "n_future must be a whole number of at least 1, not 0"),
    ("npc", (f"{UPSTREAM}.data.audio.feat_type=mfcc",), [], "feat_type must be fbank, not 'mfcc'"),
    ("tera", (f"{UPSTREAM}.task.mask_proportion=2.0",), [], "mask_proportion must be 0 or more and below 1, not 2.0"),
    ("tera", (f"{UPSTREAM}.task.mask_propotion=0.1",), [], "mask_proportion"),
    ("tera", (f"{UPSTREAM}.audio.target.feat_type=linear",), [], "mask_frequency needs a target as wide as the input, 80 and not 201"),
    ("mockingjay", (f"{UPSTREAM}.transformer.input_dim=80",), [], "input_dim is 80, but the features are 240 wide"),
]


@pytest.mark.parametrize(("name", "more", "flags", "sentence"), FAULTS, ids=[fault[3][:40] for fault in FAULTS])
def test_what_cannot_be_is_one_sentence(name, more, flags, sentence, root, tmp_path, capsys):
    assert main([*words(name, root, tmp_path, 2, *more), *flags, "--device", "cpu"]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["apc", "tera"])
def test_recordings_shorter_than_a_frame_are_named_before_the_training(name, tmp_path, capsys):
    sounds = folder(tmp_path / "sounds")
    soundfile.write(sounds / "train/speaker/blip.wav", sound(0.01, 0), 16000)
    assert main([*words(name, sounds, tmp_path, 2), "--device", "cpu"]) == 2
    assert "1 recordings of train have less than the" in (said := capsys.readouterr().err)
    assert "such as train/speaker/blip.wav" in said
    assert main([*words(name, sounds, tmp_path, 2, f"{DATA}.max_timestep=-10"), "--device", "cpu"]) == 0


def test_a_batch_with_nothing_to_predict_ends_nothing(tmp_path):
    """Recordings of three frames, where the fifth frame from each is to be predicted."""
    assert main([*words("apc", folder(tmp_path / "sounds", seconds=(0.046, 0.05)), tmp_path, 2), "--device", "cpu"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["pretrain_apc/train-loss"] for line in lines if "pretrain_apc/train-loss" in line] == [0]


def test_inference_says_that_there_is_none(root, tmp_path, capsys):
    assert main([*words("npc", root, tmp_path, 2), "--device", "cpu"]) == 0
    wav = next((root / "dev").rglob("*.wav"))
    assert main(["-m", "inference", "-t", str(wav), "-e", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "has no inference" in capsys.readouterr().err
