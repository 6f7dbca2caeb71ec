"""The task as a whole: configs, splits, likelihood in chunks, generation of files, what is refused."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch.utils.data import RandomSampler, SequentialSampler

from downstream.audio_generation.data.batches import IGNORED
from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.generation import work
from downstream.audio_generation.generation.agreement import check_steps
from downstream.audio_generation.generation.files import output_folder
from downstream.audio_generation.generation.options import Options
from downstream.audio_generation.likelihood import loss_of
from downstream.audio_generation.models.build import build
from downstream.audio_generation.param_groups import param_groups
from downstream.audio_generation.quantise import Quantiser
from downstream.audio_generation.settings import Settings
from downstream.interfaces import RunContext
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.layouts import TASK, config, sc09
from utility.errors import ConfigError, DataError, FolderInUseError, ToolkitError, UnknownNameError, UsageError
from utility.features.threads import in_threads, use_threads

CHUNKS = {"chunk_len": 64, "overlap_len": 16, "drop_tail": False}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return sc09(tmp_path_factory.mktemp("corpus"))


def expert(place: Path, corpus: Path, family: str = "samplernn", mode: str = "evaluate", **sections) -> DownstreamExpert:
    made = yaml.safe_load(config(place, corpus, family, **sections).read_text())
    torch.manual_seed(0)
    return DownstreamExpert(1, 1, made["downstream_expert"], place, runner=made["runner"], mode=mode)


def generate(task: DownstreamExpert, place: Path, seed: int = 0) -> dict:
    context = RunContext(lambda wavs: wavs, place, "cpu", seed)
    return task.eval().run("generate", context)


@pytest.mark.parametrize("path", sorted(set(TASK.glob("*.yaml")) - set(TASK.glob("diffwave-*.yaml"))), ids=lambda path: path.stem)
def test_shipped_configs_are_understood(path):
    settings = Settings.of(yaml.safe_load(path.read_text())["downstream_expert"])
    assert settings.generate.l_sample == 16000
    assert (settings.tbptt is None) == ("samplernn" not in path.stem)
    assert settings.reading.quantization == ("linear" if "beethoven" in path.stem else "mu-law")


# parameters, epochs, batch, learning rate, decay, patience of the plateau or None, samples of a part (audio-generation.md, 3 to 5)
RECIPES = {
    "sashimi-sc09": (4_751_072, 1000, 32, 0.001, 0.0, 20, 16000),
    "sashimi-youtubemix": (4_751_072, 1000, 1, 0.004, 0.0, 20, 131072),
    "sashimi-beethoven": (4_751_072, 1000, 1, 0.004, 0.0, 20, 128000),
    "sashimi-sc09-unet": (6_820_512, None, 16, 0.001, 0.1, None, 16000),
    "wavenet-sc09": (4_244_480, 200, 8, 0.001, 0.0, 5, 16000),
    "wavenet-youtubemix": (4_244_480, 200, 1, 0.001, 0.0, 5, 131072),
    "wavenet-beethoven": (4_244_480, 200, 1, 0.001, 0.0, 5, 128000),
    "samplernn-sc09": (35_034_624, 200, 128, 0.001, 0.0, 20, 16000),
    "samplernn-youtubemix": (35_034_624, 200, 128, 0.001, 0.0, 20, 131072),
    "samplernn-beethoven": (35_034_624, 200, 128, 0.001, 0.0, 20, 128000),
}


@cache
def parameters_of(modelrc: str) -> int:
    return sum(p.numel() for p in build(json.loads(modelrc)).parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_configs_are_the_published_recipes(name):
    made = yaml.safe_load((TASK / f"{name}.yaml").read_text())
    parameters, epochs, batch, lr, decay, patience, sample_len = RECIPES[name]
    settings, optimizer, scheduler = Settings.of(made["downstream_expert"]), made["optimizer"], made["scheduler"]
    model = {field: value for field, value in settings.model.items() if field != "quantization"}
    assert parameters_of(json.dumps(model, sort_keys=True)) == parameters
    assert (optimizer["torch_optim_name"], optimizer["lr"], optimizer["weight_decay"]) == ("AdamW", lr, decay)
    assert made["runner"].get("total_epochs") == epochs
    assert (settings.reading.batch_size, settings.corpus.sample_len, settings.reading.bits) == (batch, sample_len, 8)
    assert settings.corpus.drop_last == ("sc09" not in name)
    assert settings.model.get("quantization", settings.reading.quantization) == settings.reading.quantization
    if patience is None:
        assert (scheduler["num_warmup_steps"], made["runner"]["total_steps"]) == (1000, 200_000)
    else:
        assert {field: scheduler[field] for field in ("split", "metric", "factor", "patience")} == {
            "split": "val",
            "metric": "loss",
            "factor": 0.2,
            "patience": patience,
        }
    if "samplernn" in name:
        assert (settings.tbptt.chunk_len, settings.tbptt.overlap_len, settings.tbptt.drop_tail, settings.clip_value) == (1024, 32, True, 1)


def test_the_default_config_is_that_of_the_published_model():
    assert yaml.safe_load((TASK / "config.yaml").read_text()) == yaml.safe_load((TASK / "sashimi-sc09.yaml").read_text())


@pytest.mark.parametrize(("family", "overlap"), [("samplernn", 16), ("wavenet", 9)])
def test_a_whole_evaluation_equals_one_in_chunks(tmp_path, corpus, family, overlap):
    whole = expert(tmp_path, corpus, family).eval()
    chunked = expert(tmp_path, corpus, family, tbptt=CHUNKS | {"overlap_len": overlap}).eval()
    x, y = next(iter(whole.get_dataloader("val")))[1:3]
    found = []
    for task in (whole, chunked):
        records: dict = {name: [] for name in ("nats", "count", "hits@1", "hits@3", "hits@5", "hits@10")}
        with torch.no_grad():
            loss = task("val", [], x, y, True, records=records)
        found.append((loss.item(), sum(records["nats"]), sum(records["count"]), sum(records["hits@5"])))
        assert loss.item() == pytest.approx(sum(records["nats"]) / sum(records["count"]))
    assert found[0][2] == (y != IGNORED).sum() < y.numel()  # padding counts nowhere
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_training_goes_on_from_the_state_of_the_last_chunk(tmp_path, corpus):
    task = expert(tmp_path, corpus, mode="train", tbptt=CHUNKS).train()
    batches = list(task.get_dataloader("train"))
    assert batches[0][3]
    assert not batches[1][3]
    records: dict = {"nats": [], "count": []}
    task("train", [], *batches[0][1:], records=records)
    carried = task.get_extra_state()
    going_on = task("train", [], *batches[1][1:], records=records)
    task.set_extra_state(carried)
    assert torch.equal(task("train", [], *batches[1][1:], records=records), going_on)
    anew = task("train", [], *batches[1][1:3], True, records=records)
    assert not torch.equal(anew, going_on)
    with torch.no_grad():
        total, count = loss_of(task.model(batches[1][1], None)[0], batches[1][2])
    assert anew.item() == pytest.approx((total / count).item())


@pytest.mark.parametrize("other", [{"tbptt": CHUNKS | {"chunk_len": 32}}, {"batch": 3}, {"length": 200}])
def test_a_state_of_other_chunks_is_not_gone_on_from(tmp_path, corpus, other):
    def task(tbptt: dict = CHUNKS, batch: int = 4, length: int = 400) -> DownstreamExpert:
        data = {"_name_": "sc09", "path": str(corpus), "batch_size": batch, "sample_len": length}
        return expert(tmp_path, corpus, mode="train", tbptt=tbptt, datarc=data).train()

    first = task()
    batches = list(first.get_dataloader("train"))
    first("train", [], *batches[0][1:], records={"nats": [], "count": []})
    kept = first.get_extra_state()
    assert kept["carried"] != [None]
    same, changed = task(), task(**other)
    for one in (same, changed):
        one.set_extra_state(kept)
    assert torch.equal(same.carried.states[0][0], kept["carried"][0][0])
    assert changed.carried.states == [None]
    x, y, _ = list(changed.get_dataloader("train"))[1][1:]
    changed("train", [], x, y, False, records={"nats": [], "count": []})


def test_gradients_are_cut_on_both_sides(tmp_path, corpus):
    task = expert(tmp_path, corpus, mode="train", clip_value=1e-4).train()
    x, y, begins = next(iter(task.get_dataloader("train")))[1:]
    for _ in range(2):  # of an update
        task("train", [], x, y, begins, records={"nats": [], "count": []}).backward()
    task.before_update()
    gradients = torch.cat([p.grad.flatten() for p in task.model.parameters()])
    assert (gradients.min().item(), gradients.max().item()) == pytest.approx((-1e-4, 1e-4))


@pytest.mark.parametrize("family", ["sashimi", "diffwave"])
def test_only_training_is_in_another_order_each_time(tmp_path, corpus, family):
    task = expert(tmp_path, corpus, family, mode="train")
    assert isinstance(task.train().get_dataloader("train").sampler, RandomSampler)
    assert isinstance(task.get_dataloader("val").sampler, SequentialSampler)
    assert isinstance(task.eval().get_dataloader("train").sampler, SequentialSampler)


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


def stopped_in_its_second_pass(task: DownstreamExpert, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Generates until Ctrl-C; returns how many sequences each pass has, also of later generations."""
    stepper, calls = type(task.model).stepper, []

    def counted(self, batch, mode=None):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stepper(self, batch, mode)

    monkeypatch.setattr(type(task.model), "stepper", counted)
    monkeypatch.setattr(work, "in_threads", lambda make, passes: [make(one) for one in passes])
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
    monkeypatch.setattr(work, "in_threads", lambda make, passes: [make(one) for one in passes])
    generate(expert(tmp_path, corpus, family, generate=fields), tmp_path / "one")
    for path in (tmp_path / "one" / "samples").iterdir():
        assert (tmp_path / "two" / "samples" / path.name).read_bytes() == path.read_bytes()


def test_one_pass_that_ends_early_ends_all(tmp_path, corpus, two_cores, monkeypatch):
    task = expert(tmp_path, corpus, generate={"n_samples": 6, "l_sample": 10**6, "n_batch": 1})
    stepper, calls = type(task.model).stepper, []

    def second_fails(self, batch, mode=None):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return stepper(self, batch, mode)

    monkeypatch.setattr(type(task.model), "stepper", second_fails)
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


def test_a_network_has_as_many_codes_as_the_recordings():
    with pytest.raises(ConfigError, match="bits must be those of datarc: the recordings have 16 codes, the network 256"):
        build(SMALL["samplernn"], 16)


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


def test_the_average_of_the_weights_is_evaluated(tmp_path, corpus):
    task = expert(tmp_path, corpus, ema=0.75)
    with torch.no_grad():
        for p in task.model.parameters():
            p.add_(2)
        before = [p.clone() for p in task.model.parameters()]
        task.after_update()  # begins with what the first update left
        for p in task.model.parameters():
            p.add_(1)
        task.after_update()
    for first, mine in zip(before, task.average.model.parameters(), strict=True):
        torch.testing.assert_close(mine, first + 0.25)
    assert task.eval().judged() is task.average.model
    assert task.train().judged() is task.model
    assert not any(p.requires_grad for p in task.average.parameters())


def test_checkpoints_with_and_without_an_average(tmp_path, corpus, caplog):
    averaged, plain = expert(tmp_path, corpus, ema=0.75), expert(tmp_path, corpus)
    for _ in range(2):
        with torch.no_grad():
            for p in averaged.model.parameters():
                p.add_(1)
        averaged.after_update()
    plain.load_state_dict(averaged.state_dict())
    assert "ema is null: the moving average of the weights in this checkpoint is left out" in caplog.text
    again = expert(tmp_path, corpus, ema=0.5)
    again.load_state_dict(plain.state_dict())
    assert "which begins with the weights themselves" in caplog.text
    assert again.average.updates == 0
    for task in (plain, again):
        judged = task.eval().judged().parameters()
        assert all(torch.equal(one, two) for one, two in zip(averaged.model.parameters(), judged, strict=True))
    caplog.clear()
    expert(tmp_path, corpus, ema=0.5).load_state_dict(averaged.state_dict())
    assert not caplog.text


def test_the_fewest_bits_of_the_first_split_are_the_best(tmp_path, corpus):
    task = expert(tmp_path, corpus).eval()

    def best(split: str, nats: float) -> bool:
        records = {"nats": [nats], "count": [1]} | {f"hits@{k}": [0] for k in (1, 3, 5, 10)}
        logger = SimpleNamespace(add_scalar=lambda *_, **__: None)
        return task.log_records(split, records, logger, 1, [0], 1).save_names == ["dev-best.ckpt"]

    assert [best("val", 4), best("val", 5), best("test", 1), best("val", 3), best("val", 3)] == [True, False, False, True, False]


def test_parameters_get_the_settings_that_they_ask_for():
    backbone = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    backbone[0].weight._optim = {"lr": 0.001, "weight_decay": 0.0}
    frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    backbone.register_parameter("frozen", frozen)
    outside = torch.nn.Linear(2, 1)
    groups = param_groups(backbone, [torch.nn.ModuleList([backbone, outside])])
    assert [{key: value for key, value in group.items() if key != "params"} for group in groups] == [
        {},
        {"lr": 0.001, "weight_decay": 0.0},
        {"weight_decay": 0.0},
    ]
    members = [[id(p) for p in group["params"]] for group in groups]
    assert members == [
        [id(outside.weight), id(outside.bias)],
        [id(backbone[0].weight)],
        [id(backbone[0].bias), id(backbone[1].weight), id(backbone[1].bias)],
    ]


@pytest.mark.parametrize(
    ("sections", "error", "words"),
    [
        ({"tbptt": CHUNKS | {"overlap_len": 32}}, ConfigError, "overlap_len must be 16"),
        ({"tbptt": CHUNKS | {"chunk_len": 72}}, ConfigError, "tbptt: chunk_len must be a multiple of 16, the longest frame .* not 72"),
        ({"tbptt": CHUNKS | {"chunk_len": 99999}}, ConfigError, "chunk_len must be at most"),
        (
            {"datarc": {"_name_": "sc09", "path": "x", "sample_len": 64, "context_len": 64}},
            ConfigError,
            "context_len must be below sample_len, 64",
        ),
        (
            {"datarc": {"_name_": "sc09", "path": "x", "sample_len": 64}, "generate": {"l_prefix": 66}},
            ConfigError,
            "l_prefix must be at most datarc.sample_len",
        ),
        ({"tbptt": CHUNKS, "modelrc": SMALL["sashimi"]}, ConfigError, r"tbptt: sashimi carries nothing from chunk to chunk"),
        (
            {"modelrc": {**SMALL["samplernn"], "quantization": "linear"}},
            ConfigError,
            "modelrc: quantization must be that of datarc, mu-law, not linear",
        ),
        ({"generate": {"temp": float("inf"), "top_p": 0.9}}, ConfigError, "temp must be finite, not inf"),
        ({"generate": {"n_sample": 3}}, ConfigError, "did you mean 'n_samples'"),
        ({"generate": {"l_sample": 8, "l_prefix": 9}}, ConfigError, "l_prefix must be at most l_sample"),
        ({"generate": {"n_reps": 2}}, ConfigError, "n_reps needs l_prefix"),
        ({"generate": {"split": "dev", "l_prefix": 2}}, UnknownNameError, "unknown split"),
        ({"ema": 2}, ConfigError, "ema must be a number from 0 to 1"),
        ({"modelrc": {**SMALL["samplernn"], "_name_": "samplrnn"}}, UnknownNameError, "did you mean 'samplernn'"),
        ({"modelrc": {"d_model": 3}}, ConfigError, "'_name_' is missing"),
    ],
)
def test_mistakes_in_a_config_are_named(tmp_path, corpus, sections, error, words):
    with pytest.raises(error, match=words):
        expert(tmp_path, corpus, **sections)


def test_other_upstreams_are_refused(tmp_path, corpus):
    made = yaml.safe_load(config(tmp_path, corpus, "samplernn").read_text())
    with pytest.raises(UsageError, match="-u waveform"):
        DownstreamExpert(80, 160, made["downstream_expert"], tmp_path)


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
