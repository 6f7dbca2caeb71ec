"""Generation of files: their order, what a kill leaves, several cores, recordings to go on from, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.generation import work
from downstream.audio_generation.generation.agreement import check_steps
from downstream.audio_generation.generation.files import output_folder
from downstream.audio_generation.generation.options import Options
from downstream.audio_generation.models.build import build
from downstream.audio_generation.quantise import Quantiser
from tests.downstream.audio_generation.experts import expert, generate
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.layouts import sc09
from utility.errors import ConfigError, DataError, FolderInUseError, ToolkitError
from utility.features.threads import in_threads, use_threads


def test_replicas_count_in_the_size_of_a_pass():
    assert Options(n_samples=100, n_reps=4, l_prefix=2).batch("cpu") == 8
    assert Options(n_samples=100, n_reps=99, l_prefix=2).batch("cpu") == 1


def test_generated_files_are_sorted_and_say_how_likely_they_are(tmp_path, corpus):
    task = expert(tmp_path, corpus, generate={"n_samples": 5, "l_sample": 64, "entropy": True, "test_model": True}).eval()
    scores = generate(task, tmp_path / "results")
    stem = tmp_path / "results" / "samples" / "unconditional_sc09_samplernn_len_0.00s"
    likelihoods = np.load(f"{stem}_logprobs.npy")
    rows = json.loads(Path(f"{stem}_streams.json").read_text())
    assert len(rows) == scores["recordings"].value == 5
    assert (np.diff(likelihoods) >= 0).all()
    for number, (row, likelihood) in enumerate(zip(rows, likelihoods, strict=True), 1):
        wav, rate = soundfile.read(f"{stem}_gen_{number}.wav", dtype="float32")
        assert (row["file"], rate, len(wav)) == (f"{stem.name}_gen_{number}.wav", 16000, 64)
        codes = torch.from_numpy(np.abs(wav[:, None] - task.quantiser.decode(torch.arange(256)).numpy()).argmin(1))
        x, y = task.framing.batch([codes])
        with torch.no_grad():
            loss = task("val", [], x, y, True, records={k: [] for k in ("nats", "count", "hits@1", "hits@3", "hits@5", "hits@10")})
        assert -loss.item() * 64 == pytest.approx(likelihood, rel=1e-4)
        assert row["entropy"] > 0
    assert scores["bits"].value == pytest.approx(-likelihoods.mean() / 64 / np.log(2))
    assert not list(stem.parent.glob(".unfinished*"))


def test_steps_that_differ_from_the_whole_are_said(tmp_path, corpus, monkeypatch):
    task = expert(tmp_path, corpus, generate={"n_samples": 1, "l_sample": 4, "test_model": True}).eval()
    stepper = type(task.model).stepper

    def late(self, batch, mode=None):
        steps = stepper(self, batch, mode)
        plain = steps.step
        monkeypatch.setattr(steps, "step", lambda codes: plain(codes * 0), raising=False)
        return steps

    monkeypatch.setattr(type(task.model), "stepper", late)
    with pytest.raises(ToolkitError, match=r"the steps differ from the forward pass by .* of the largest logit, more than 1e-03"):
        generate(task, tmp_path)


def one_by_one(make, passes):
    """In place of ``in_threads``: whatever the cores, one pass after the other."""
    return [make(one) for one in passes]


def stop_in_second_pass(task: DownstreamExpert, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Somebody will press Ctrl-C; gives how many sequences each pass has, also of later generations."""
    stepper, calls = type(task.model).stepper, []

    def counted(self, batch, mode=None):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stepper(self, batch, mode)

    monkeypatch.setattr(type(task.model), "stepper", counted)
    return calls


def stopped_in_its_second_pass(task: DownstreamExpert, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Generates until then, one pass after the other; see ``stop_in_second_pass``."""
    calls = stop_in_second_pass(task, monkeypatch)
    monkeypatch.setattr(work, "in_threads", one_by_one)
    with pytest.raises(KeyboardInterrupt):
        generate(task, place)
    return calls


@pytest.fixture
def two_cores():
    use_threads(2)
    yield
    use_threads(None)


@pytest.mark.parametrize("family", ["samplernn", "sashimi", "unet", "wavenet"])
def test_passes_on_several_cores_give_what_one_gives(tmp_path, corpus, two_cores, monkeypatch, family):
    fields = {"n_samples": 7, "l_sample": 32, "n_batch": 2, "entropy": True}
    generate(expert(tmp_path, corpus, family, generate=fields), tmp_path / "two")
    monkeypatch.setattr(work, "in_threads", one_by_one)
    generate(expert(tmp_path, corpus, family, generate=fields), tmp_path / "one")
    for path in (tmp_path / "one" / "samples").iterdir():
        assert (tmp_path / "two" / "samples" / path.name).read_bytes() == path.read_bytes()


def test_one_pass_that_ends_early_ends_all(tmp_path, corpus, two_cores, monkeypatch):
    task = expert(tmp_path, corpus, generate={"n_samples": 6, "l_sample": 10**6, "n_batch": 1})
    calls = stop_in_second_pass(task, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        generate(task, tmp_path)
    in_threads(lambda _: None, range(2))  # the cores are free again
    assert len(calls) == 2
    assert not list((tmp_path / "samples").rglob("*.npz"))


def test_what_is_generated_does_not_depend_on_the_batches_and_survives_a_kill(tmp_path, corpus, monkeypatch, caplog):
    fields = {"n_samples": 5, "l_sample": 32}
    generate(expert(tmp_path, corpus, generate=fields), tmp_path / "whole")
    task = expert(tmp_path, corpus, generate=fields | {"n_batch": 2})
    calls = stopped_in_its_second_pass(task, tmp_path / "parts", monkeypatch)
    (tmp_path / "parts" / "samples" / ".unfinished-other").mkdir()
    generate(expert(tmp_path, corpus, generate=fields | {"n_batch": 1}), tmp_path / "parts")
    assert calls == [2, 2, 1, 1, 1]  # the first pass was not done again
    assert re.search(r"samples/\.unfinished-other: unfinished generations with other settings", caplog.text)
    files = sorted((tmp_path / "whole" / "samples").iterdir())
    assert len(files) == 7
    for path in files:
        other = tmp_path / "parts" / "samples" / path.name
        if path.suffix == ".wav":
            assert other.read_bytes() == path.read_bytes()
    ours = np.load(next((tmp_path / "parts" / "samples").glob("*.npy")))
    np.testing.assert_allclose(ours, np.load(next((tmp_path / "whole" / "samples").glob("*.npy"))), rtol=1e-6)
    generate(expert(tmp_path, corpus, generate=fields | {"n_samples": 2}), tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "samples").glob("*.wav"))) == 2  # those of the larger generation are gone
    generate(expert(tmp_path, corpus, generate=fields), tmp_path / "other", seed=1)
    assert files[0].suffix == ".wav"
    assert (tmp_path / "other" / "samples" / files[0].name).read_bytes() != files[0].read_bytes()


def test_a_killed_generation_of_another_network_with_equal_weights_is_not_taken_over(tmp_path, corpus, monkeypatch):
    fields, layer = {"n_samples": 4, "l_sample": 32, "n_batch": 2}, {"_name_": "s4", "d_state": 8}
    first, other = (
        expert(tmp_path, corpus, modelrc={**SMALL["sashimi"], "layer": {**layer, "dt_transform": form}}, generate=fields)
        for form in ("softplus", "exp")
    )
    other.load_state_dict(first.state_dict())
    generate(other, tmp_path / "whole")
    stopped_in_its_second_pass(first, tmp_path / "parts", monkeypatch)
    generate(other, tmp_path / "parts")
    ours, wanted = (np.load(next((tmp_path / place / "samples").glob("*.npy"))) for place in ("parts", "whole"))
    np.testing.assert_array_equal(ours, wanted)


def test_steps_are_compared_over_whole_pools():
    model = build({**SMALL["sashimi"], "pool": [5]}).eval()
    assert check_steps(model, 128, "cpu") < 1e-3


@pytest.mark.parametrize(
    "model",
    [
        {**SMALL["sashimi"], "pool": [2], "layer": {"l_max": 16, "d_state": 8}},
        {"_name_": "sashimi_standalone", "d_model": 8, "n_layers": 1, "pool": [2], "l_max": 16, "d_state": 8},
    ],
    ids=["sashimi", "sashimi_standalone"],
)
def test_no_step_goes_beyond_the_kernel_of_the_training(tmp_path, corpus, model):
    task = expert(tmp_path, corpus, modelrc=model, generate={"n_samples": 1, "l_sample": 18})
    with pytest.raises(ConfigError, match="l_sample must be at most 16, not 18: l_max of modelrc"):
        generate(task, tmp_path)
    generate(expert(tmp_path, corpus, modelrc=model, generate={"n_samples": 1, "l_sample": 16}), tmp_path)


def test_a_conditional_generation_goes_on_from_its_examples(tmp_path, corpus):
    fields = {"n_samples": 3, "n_reps": 2, "l_sample": 48, "l_prefix": 33, "n_batch": 2, "split": "test"}
    task = expert(tmp_path, corpus, generate=fields)
    scores = generate(task, tmp_path)
    likelihoods = np.load(next((tmp_path / "samples").glob("conditional_*.npy")))
    assert scores["bits"].value == pytest.approx(-likelihoods.mean() / 16 / np.log(2))  # per code that was drawn
    rows = json.loads(next((tmp_path / "samples").glob("conditional_*.json")).read_text())
    assert sorted((row["example"], row["replica"]) for row in rows) == [(e, r) for e in range(3) for r in range(2)]
    ends = set()
    for row in rows:
        wav, _ = soundfile.read(tmp_path / "samples" / row["file"], dtype="float32")
        wanted = task.quantiser.decode(task.dataset("test")[row["example"]][1][:32]).numpy()
        np.testing.assert_array_equal(wav[:32], wanted)
        ends.add((row["example"], wav[32]))
    assert len(ends) > 3  # replicas part at the first code that is drawn


def test_a_killed_conditional_generation_takes_over_what_went_on_from_the_same_recordings(tmp_path, monkeypatch):
    corpus = sc09(tmp_path / "corpus")
    fields = {"n_samples": 3, "n_reps": 2, "l_sample": 24, "l_prefix": 17}

    def task(n_batch: int) -> DownstreamExpert:
        return expert(tmp_path, corpus, generate={**fields, "n_batch": n_batch})

    def found(place: str) -> tuple[np.ndarray, list]:
        files = tmp_path / place / "samples"
        return np.load(next(files.glob("*.npy"))), json.loads(next(files.glob("*.json")).read_text())

    calls = stopped_in_its_second_pass(task(2), tmp_path / "parts", monkeypatch)
    generate(task(1), tmp_path / "parts")
    assert calls == [4, 2, 2]
    generate(task(3), tmp_path / "whole")
    np.testing.assert_allclose(found("parts")[0], found("whole")[0], rtol=1e-6)
    assert [row["stream"] for row in found("parts")[1]] == [row["stream"] for row in found("whole")[1]]
    monkeypatch.undo()
    calls = stopped_in_its_second_pass(task(1), tmp_path / "other", monkeypatch)
    path = task(1).dataset("val").chunks[0].path
    wav, rate = soundfile.read(path)
    soundfile.write(path, wav[::-1], rate)
    generate(task(1), tmp_path / "other")
    assert len(calls) == 2 + 3  # the finished one is not taken over


def test_progress_ends_where_the_steps_end(tmp_path, corpus, capfd):
    generate(expert(tmp_path, corpus, "wavenet", generate={"n_samples": 3, "n_batch": 2, "l_sample": 24, "published": True}), tmp_path)
    assert f"100%|##########| {2 * (24 + 8)}/{2 * (24 + 8)} " in capfd.readouterr().err.replace("\N{FULL BLOCK}", "#")


@pytest.mark.parametrize("published", [False, True])
def test_linear_codes_are_decoded_as_they_were_made(tmp_path, corpus, published):
    data = {"_name_": "sc09", "path": str(corpus), "quantization": "linear"}
    model = {**SMALL["samplernn"], "quantization": "linear"}
    task = expert(tmp_path, corpus, datarc=data, modelrc=model, generate={"n_samples": 1, "l_sample": 64, "published": published})
    generate(task, tmp_path)
    wav, _ = soundfile.read(next((tmp_path / "samples").glob("*.wav")), dtype="float32")
    values = Quantiser("mu-law" if published else "linear").decode(torch.arange(256)).numpy()
    assert np.isin(wav, values).all()


def test_examples_that_are_too_few_or_too_short_are_named(tmp_path, corpus):
    with pytest.raises(ConfigError, match="n_samples is 99, but val has 10"):
        generate(expert(tmp_path, corpus, generate={"n_samples": 99, "l_prefix": 2}), tmp_path)
    with pytest.raises(DataError, match=r"\.wav has \d+ samples, too few"):
        generate(expert(tmp_path, corpus, generate={"n_samples": 2, "l_sample": 900, "l_prefix": 800}), tmp_path)


def test_a_network_that_failed_says_so(tmp_path, corpus):
    task = expert(tmp_path, corpus, generate={"n_samples": 1, "l_sample": 4})
    with torch.no_grad():
        for p in task.model.parameters():
            p.fill_(float("nan"))
    with pytest.raises(ToolkitError, match="not finite"):
        generate(task, tmp_path)


@pytest.mark.parametrize("family", ["sashimi", "diffwave"])
def test_a_place_that_takes_no_files_is_named_before_anything_is_generated(tmp_path, corpus, family):
    (tmp_path / "file").touch()
    task = expert(tmp_path, corpus, family, generate={"n_samples": 1, "l_sample": 64, "save_dir": str(tmp_path / "file" / "samples")})
    task.model = None
    with pytest.raises(ConfigError, match=r"save_dir: no file can be written in .*samples: Not a directory"):
        generate(task, tmp_path)


@pytest.mark.parametrize("family", ["sashimi", "diffwave"])
def test_two_generations_into_one_folder(tmp_path, corpus, family):
    few = {"diffusion": {"T": 2}} if family == "diffwave" else {}
    task = expert(tmp_path, corpus, family, generate={"n_samples": 1, "l_sample": 64}, **few)
    with (
        output_folder(None, tmp_path) as folder,
        pytest.raises(FolderInUseError, match=r"another process generates into .*samples; wait for it"),
    ):
        generate(task, tmp_path)
    assert list(folder.iterdir()) == []
    generate(task, tmp_path)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
