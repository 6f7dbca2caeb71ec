"""The task as a whole: configs, splits, likelihood in chunks, averages, what is refused."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.utils.data import RandomSampler, SequentialSampler

from downstream.audio_generation.data.batches import IGNORED
from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.likelihood import loss_of
from downstream.audio_generation.models.build import build
from downstream.audio_generation.param_groups import param_groups
from downstream.audio_generation.settings import Settings
from tests.downstream.audio_generation.experts import expert
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.layouts import TASK, config
from utility.errors import ConfigError, UnknownNameError, UsageError

CHUNKS = {"chunk_len": 64, "overlap_len": 16, "drop_tail": False}


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


def test_a_network_has_as_many_codes_as_the_recordings():
    with pytest.raises(ConfigError, match="bits must be those of datarc: the recordings have 16 codes, the network 256"):
        build(SMALL["samplernn"], 16)


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
