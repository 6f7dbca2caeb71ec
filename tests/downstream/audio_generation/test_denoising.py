"""DiffWave as a task: configs, evaluation, files, vocoding, what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml

from downstream.audio_generation.denoising.drawing import places
from downstream.audio_generation.denoising.settings import DenoisingSettings
from downstream.audio_generation.denoising.task import DenoisingExpert
from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.diffwave import build_diffwave
from downstream.audio_generation.models.mel import Mel
from downstream.interfaces import RunContext
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.layouts import RATE, TASK, config, sc09, tone
from utility.errors import ConfigError, DataError, UnknownNameError

SIZES = {"diffwave-sc09": 23.0, "diffwave-wavenet-sc09": 24.1}
VOCODER = {
    "modelrc": {**SMALL["diffwave"], "unconditional": False, "mel_upsample": [4, 4]},
    "mel": {"filter_length": 512, "win_length": 512, "hop_length": 16},
    "diffusion": {"T": 4},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return sc09(tmp_path_factory.mktemp("corpus"))


def expert(place: Path, corpus: Path, mode: str = "evaluate", **sections) -> DownstreamExpert:
    made = yaml.safe_load(config(place, corpus, "diffwave", **{"diffusion": {"T": 6}, **sections}).read_text())
    made["downstream_expert"]["datarc"].setdefault("sample_len", 512)
    torch.manual_seed(0)
    task = DownstreamExpert(1, 1, made["downstream_expert"], place, runner=made["runner"], mode=mode)
    with torch.no_grad():
        for weight in task.model.final_conv.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return task


def generate(task: DownstreamExpert, place: Path, seed: int = 0) -> list[np.ndarray]:
    scores = task.eval().run("generate", RunContext(lambda wavs: wavs, place, "cpu", seed))
    files = sorted((place / "samples").glob("*.wav"))
    assert scores["recordings"].value == len(files)
    return [soundfile.read(file, dtype="float32")[0] for file in files]


@pytest.mark.parametrize("path", sorted(TASK.glob("diffwave-*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_understood(path, tmp_path):
    section = yaml.safe_load(path.read_text())["downstream_expert"]
    task = DownstreamExpert(1, 1, section, tmp_path)
    assert isinstance(task, DenoisingExpert)
    if path.stem in SIZES:
        assert round(sum(p.numel() for p in task.model.parameters()) / 1e6, 1) == SIZES[path.stem]


def test_an_evaluation_scores_the_error_of_the_noise(tmp_path, corpus):
    task, records = expert(tmp_path, corpus).eval(), {"error": [], "items": []}
    with torch.no_grad():
        task.model.final_conv[2].conv.weight.zero_()
        task.model.final_conv[2].conv.bias.zero_()
        for wavs, *others in task.get_dataloader("val"):
            task("val", [wav.unsqueeze(1) for wav in wavs], *others, records=records)
    assert sum(records["items"]) == 10
    assert np.average(records["error"], weights=records["items"]) == pytest.approx(1, abs=0.1)


def test_the_smallest_error_of_the_first_split_is_the_best(tmp_path, corpus):
    task = expert(tmp_path, corpus).eval()
    logger = SimpleNamespace(add_scalar=lambda *_, **__: None)

    def best(split: str, *errors: float) -> bool:
        outcome = task.log_records(split, {"error": list(errors), "items": [3, 1][: len(errors)]}, logger, 1, [0], 1)
        assert split == "train" or outcome.scores["loss"].value == np.average(errors, weights=[3, 1][: len(errors)])
        return outcome.save_names == ["dev-best.ckpt"]

    said = [best("val", 0.5), best("val", 0.25, 0.75), best("val", 0.6), best("test", 0.1), best("train", 0.1), best("val", 0.375)]
    assert said == [True, True, False, False, False, False]


def test_what_is_drawn_does_not_depend_on_the_batch(tmp_path, corpus):
    found = [
        generate(expert(tmp_path, corpus, generate={"n_samples": 3, "l_sample": 64, "n_batch": size}), tmp_path / str(size))
        for size in (1, 3)
    ]
    assert [len(wav) for wav in found[0]] == [64] * 3
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert not np.allclose(found[0][0], found[0][1])
    other = generate(expert(tmp_path, corpus, generate={"n_samples": 3, "l_sample": 64}), tmp_path / "other", seed=1)
    assert not np.allclose(found[0][0], other[0])


def test_fewer_recordings_leave_none_of_more_behind(tmp_path, corpus):
    for count in (3, 2):
        assert len(generate(expert(tmp_path, corpus, generate={"n_samples": count, "l_sample": 64}), tmp_path)) == count


def test_a_short_schedule_takes_fewer_steps(tmp_path, corpus):
    task = expert(tmp_path, corpus, diffusion={"T": 50, "beta": [0.001, 0.1]}, generate={"n_samples": 1, "l_sample": 64})
    steps = []
    task.model.register_forward_hook(lambda module, inputs, output: steps.append(inputs[1].item()))
    generate(task, tmp_path)
    assert len(steps) == 2 and 0 < steps[1] < steps[0] < 49


def test_a_killed_generation_goes_on(tmp_path, corpus):
    task = expert(tmp_path, corpus, generate={"n_samples": 3, "l_sample": 64, "n_batch": 1})
    whole = generate(task, tmp_path / "whole")
    calls = []

    def stop(module, inputs, output):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt

    hook = task.model.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        generate(task, tmp_path / "killed")
    hook.remove()
    assert not list((tmp_path / "killed" / "samples").glob("*.wav"))  # nor any beside those of an earlier seed
    counted = task.model.register_forward_hook(lambda *_: calls.append(1))
    np.testing.assert_array_equal(generate(task, tmp_path / "killed"), whole)
    counted.remove()
    assert len(calls) == 8 + 2 * 6  # two of three passes


def test_a_vocoder_speaks_recordings_again(tmp_path, corpus):
    place = tmp_path / "recordings"
    place.mkdir()
    for name, samples in (("a", 333), ("b", 300)):
        soundfile.write(place / f"{name}.wav", tone(samples, 1), RATE)
    task = expert(tmp_path, corpus, **VOCODER, generate={"mel_from": str(place)})
    assert [len(wav) for wav in generate(task, tmp_path)] == [333, 300]
    assert {file.name for file in (tmp_path / "samples").iterdir()} == {"a.wav", "b.wav"}
    task.train()
    wavs = next(iter(task.get_dataloader("train")))[0]
    task("train", wavs, records={"error": [], "items": []}).backward()
    assert task.model.c_layers[0].mel_conv.conv.weight_v.grad.any()


def test_a_vocoder_says_how_many_recordings_it_leaves_out(tmp_path, corpus, caplog):
    place = tmp_path / "recordings"
    place.mkdir()
    for number in (1, 2, 10):
        soundfile.write(place / f"{number}.wav", tone(300, number), RATE)
    generate(expert(tmp_path, corpus, **VOCODER, generate={"mel_from": str(place), "n_samples": 2}), tmp_path)
    assert {file.name for file in (tmp_path / "samples").iterdir()} == {"1.wav", "2.wav"}
    assert "the first 2 of 3 recordings of" in caplog.text


def test_a_killed_vocoder_goes_on_unless_its_recording_has_changed(tmp_path, corpus):
    place, steps = tmp_path / "recordings", VOCODER["diffusion"]["T"]
    place.mkdir()
    for number in range(3):
        soundfile.write(place / f"{number}.wav", tone(300, number), RATE)
    task = expert(tmp_path, corpus, **VOCODER, generate={"mel_from": str(place)})
    whole, calls = generate(task, tmp_path / "whole"), []

    def stop(module, inputs, output):
        calls.append(1)
        if len(calls) == 2 * steps + 1:
            raise KeyboardInterrupt

    hook = task.model.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        generate(task, tmp_path / "killed")
    hook.remove()
    soundfile.write(place / "1.wav", tone(300, 9), RATE)
    counted = task.model.register_forward_hook(lambda *_: calls.append(1))
    found = generate(task, tmp_path / "killed")
    counted.remove()
    assert len(calls) == 2 * steps + 1 + 2 * steps  # the first was spoken already, the second is another recording now
    assert not list((tmp_path / "killed" / "samples").glob(".unfinished*"))
    for number in (0, 2):
        np.testing.assert_array_equal(found[number], whole[number])
    assert not np.array_equal(found[1], whole[1])


def test_recordings_that_would_overwrite_each_other(tmp_path):
    for name in ("a/x.wav", "b/x.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    files = [tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"]
    assert places(files[:1], tmp_path) == {tmp_path / "x.wav": files[0]}
    with pytest.raises(DataError, match=r"would both become x\.wav"):
        places(files, tmp_path)
    with pytest.raises(DataError, match=r"x\.wav would be overwritten"):
        places(files[:1], tmp_path / "a")


def slaney(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: even up to 1 kHz, logarithmic above."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))


def test_mel_spectrograms_by_their_formula():
    wav, mel = tone(4000, 0), Mel()
    padded = np.pad(wav.astype(np.float64), 512, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024))
    hertz = np.linspace(0, 11025, 513)
    edges = np.interp(np.linspace(0, slaney(np.array(8000.0)), 82), slaney(np.linspace(0, 8001, 80011)), np.linspace(0, 8001, 80011))
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    wanted = np.log(np.maximum(bands @ np.abs(np.fft.rfft(frames)).T, 1e-5))
    np.testing.assert_allclose(mel(torch.from_numpy(wav)[None])[0], wanted, atol=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_allclose(mel(torch.from_numpy(wav)[None])[0], wanted, atol=0.01)
    assert mel(torch.zeros(1, 4000)).unique().exp().item() == pytest.approx(1e-5)
    with pytest.raises(DataError, match="more than 512 samples are needed"):
        mel(torch.zeros(1, 512))


@pytest.mark.parametrize(
    ("sections", "error", "sentence"),
    [
        ({"tbptt": {}}, ConfigError, "unknown field 'tbptt'"),
        ({"diffusion": {"t": 5}}, ConfigError, "unknown field 't'"),
        ({"diffusion": {"T": 5, "beta": [2.0]}}, ConfigError, "beta must lie between 0 and 1"),
        ({"generate": {"l_sample": 63}}, ConfigError, "generate.l_sample must be a multiple of 4"),
        ({"generate": {"mel_from": "x"}}, ConfigError, "mel_from needs a network that hears"),
        ({**VOCODER, "mel": {}}, ConfigError, "mel.hop_length must be 16"),
        ({"mel": {"mel_fmin": 7000, "mel_fmax": 7000}}, ConfigError, "mel: mel_fmin must be below mel_fmax and half of sample_rate, 7000"),
        ({"mel": {"mel_fmin": 9000.5, "mel_fmax": 12000}}, ConfigError, "half of sample_rate, 8000, not 9000.5"),
        ({"mel": {"filter_length": 512}}, ConfigError, "mel: win_length must be at most filter_length, 512, not 1024"),
        ({"modelrc": {**SMALL["diffwave"], "backbone": "sasimi"}}, UnknownNameError, "did you mean 'sashimi'"),
        ({"modelrc": {**SMALL["diffwave"], "d_modle": 4}}, ConfigError, "did you mean 'd_model'"),
    ],
)
def test_wrong_settings(tmp_path, corpus, sections, error, sentence):
    with pytest.raises(error, match=sentence):
        expert(tmp_path, corpus, **sections)


def test_a_vocoder_that_is_not_told_what_to_speak(tmp_path, corpus):
    with pytest.raises(ConfigError, match="mel_from must name"):
        generate(expert(tmp_path, corpus, **VOCODER), tmp_path)
    with pytest.raises(ConfigError, match=r"mel_from: there is no .*nowhere"):
        generate(expert(tmp_path, corpus, **VOCODER, generate={"mel_from": str(tmp_path / "nowhere")}), tmp_path)


def test_a_recording_too_short_to_be_spoken_is_named(tmp_path, corpus):
    soundfile.write(tmp_path / "short.wav", tone(4, 1), RATE)
    with pytest.raises(DataError, match=r"short\.wav: more than 256 samples are needed"):
        generate(expert(tmp_path, corpus, **VOCODER, generate={"mel_from": str(tmp_path / "short.wav")}), tmp_path)


def test_a_name_that_is_nearly_right():
    with pytest.raises(UnknownNameError, match="did you mean 'diffwave'"):
        build({"_name_": "diffwav"})


def test_settings_by_default():
    settings = DenoisingSettings.of({"datarc": {"_name_": "sc09", "path": "."}, "modelrc": {"_name_": "diffwave"}})
    assert len(settings.noise.drawn) == 200
    assert build_diffwave(settings.model, "modelrc").pooled == 16
