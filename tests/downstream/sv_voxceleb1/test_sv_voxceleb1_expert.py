"""The expert against S3PRL's recorded outputs, and on small corpora."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.sv_voxceleb1.audio import CACHE
from downstream.sv_voxceleb1.expert import DownstreamExpert
from downstream.sv_voxceleb1.scoring import cosine_scores
from tests.downstream.sv_voxceleb1.layouts import Layout, write_tones
from tests.support.pipelines import noises, untrained
from utility.audio.io import save_audio
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint

SP, AP, ASP, MP = (f"sv_xvector_{case}" for case in ("sp_amsoftmax", "ap_softmax", "asp_aamsoftmax", "mp_amsoftmax"))


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(
    expdir: Path, datarc: dict[str, Any] | None = None, modelrc: dict[str, Any] | None = None, threshold: Any = None, **kwargs: Any
) -> DownstreamExpert:
    modelrc = {
        "module": "XVector",
        "module_config": {"XVector": {"agg_dim": 9}},
        "input_dim": 8,
        "agg_module": "SP",
        "utter_module": "UtteranceExtractor",
        "ObjectiveLoss": "AMSoftmaxLoss",
        **(modelrc or {}),
    }
    settings = {
        "datarc": {"train_batch_size": 2, "eval_batch_size": 3, "num_workers": 0, **(datarc or {})},
        "modelrc": modelrc,
        "threshold": threshold,
    }
    return DownstreamExpert(kwargs.pop("upstream_dim", 5), kwargs.pop("upstream_rate", 160), settings, str(expdir), **kwargs)


class Recorded:
    """A recorded case with its expert; its trials are of recordings that exist as empty files."""

    def __init__(self, folder: Path, place: Path, published: bool = True):
        self.params, self.expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
        self.outputs, inputs = np.load(folder / "outputs.npz"), np.load(folder / "inputs.npz")
        self.features = [torch.from_numpy(inputs[f"feat_{item}"]) for item in range(self.params["n"])]
        self.files = folder / "outputs_files"
        for name in self.params["names"]:
            path = place / "vox/test/wav" / name
            path.parent.mkdir(parents=True)
            path.touch()
        (place / "trials").write_text(self.params["data"]["trials"])
        self.saved = checkpoint.load(folder / "state.pt")
        section = self.saved["Config"]["downstream_expert"]
        datarc = {**section["datarc"], "file_path": str(place / "vox"), "test_meta_data": str(place / "trials")}
        self.expert = make(place / "run", {**datarc, "vad_config": {"min_sec": 32000}}, {**section["modelrc"], "published": published})
        self.expert.load_state_dict(self.saved["Downstream"])

    @property
    def names(self) -> list[str]:
        return [name.removesuffix(".wav").replace("/", "-") for name in self.params["names"]]


@pytest.mark.parametrize("case", [SP, AP, ASP, MP])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    """Loss of a training batch, the vectors in it, and the scores of trials, all of padded utterances."""
    recorded = Recorded(golden(f"tasks/heads/{case}"), tmp_path)
    expert, outputs, records = recorded.expert, recorded.outputs, defaultdict(list)
    loss = expert("train", recorded.features, recorded.names, recorded.params["labels"], records=records)
    np.testing.assert_allclose(loss.item(), outputs["train_loss"], rtol=1e-4)

    lengths = torch.tensor([len(feature) for feature in recorded.features])
    projected = expert.connector(torch.nn.utils.rnn.pad_sequence(recorded.features, batch_first=True))
    frames = expert.model.framelevel_feature_extractor(projected)
    np.testing.assert_allclose(frames.detach(), outputs["frame_level"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(expert.model.pooled(projected, lengths).detach(), outputs["pooled"], rtol=1e-4, atol=1e-5)

    # by their batch, since one frame of padding counts in S3PRL's
    vectors = torch.nn.functional.normalize(expert.model.inference(projected, lengths), dim=1)
    np.testing.assert_allclose(vectors.detach(), outputs["embeddings_unit_norm"], rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    log = Log()
    outcome = expert.log_records("test", {"name": recorded.names, "vector": list(vectors.detach())}, log, 10)
    ((tag, value, step),) = recorded.expected["scalars"]
    eer = next(scalar for scalar in log if scalar[0] == tag)
    assert eer[1:] == [pytest.approx(value, abs=1e-6), step]
    assert outcome.scores["EER"].value == pytest.approx(value, abs=1e-6)
    assert not outcome.save_names
    said, expected = (text.split() for text in (capsys.readouterr().out, recorded.expected["printed_by_log_records"]))
    assert (said[0], float(said[1])) == (expected[0], pytest.approx(float(expected[1]), abs=1e-6))
    assert lines(tmp_path / "run/test_predict.txt") == [
        (name, pytest.approx(score, abs=1e-5)) for name, score in lines(recorded.files / "test_predict.txt")
    ]
    assert [label for _, label in lines(tmp_path / "run/test_truth.txt")] == [1, 0, 1, 0]


def lines(path: Path) -> list[tuple[str, float]]:
    return [(name, float(value)) for name, value in (line.split(" ") for line in path.read_text().splitlines())]


def test_recorded_names_of_speakers(golden, tmp_path: Path):
    """A speaker's index is the place of its folder in alphabetical order."""
    folder = golden(f"tasks/heads/{SP}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    write_tones(tmp_path / "vox/dev/wav", [f"{name}/a/1.wav" for name in params["data"]["speakers"]])
    expert = make(tmp_path / "run", {"file_path": str(tmp_path / "vox")}, mode="train")
    assert expert.speakers == expected["all_speakers"]


def test_by_default_padding_does_not_count(golden, tmp_path: Path):
    recorded = Recorded(golden(f"tasks/heads/{SP}"), tmp_path, published=False)
    together, alone = defaultdict(list), defaultdict(list)
    samples = [160 * len(feature) for feature in recorded.features]
    recorded.expert("test", recorded.features, recorded.names, samples, records=together)
    for feature, name, count in zip(recorded.features, recorded.names, samples, strict=True):
        recorded.expert("test", [feature], [name], [count], records=alone)
    torch.testing.assert_close(torch.stack(together["vector"]), torch.stack(alone["vector"]))
    torch.testing.assert_close(torch.linalg.vector_norm(torch.stack(alone["vector"]), dim=1), torch.ones(3))


@torch.no_grad()
def test_a_score_does_not_depend_on_its_batch(repo: Path, tmp_path: Path):
    """S3PRL's rule of lengths leaves up to two frames of padding in all but the longest: 186 frames in place of 185, 100 in place of 98."""
    pipeline = untrained("sv_voxceleb1", tmp_path, "-c", str(repo / "downstream/sv_voxceleb1/configs/fbank.yaml"))
    wavs, together, alone = noises(30080, 29840, 16000), defaultdict(list), defaultdict(list)
    for records, batches in ((together, [wavs]), (alone, [[wav] for wav in wavs])):
        for batch in batches:
            features = pipeline.extract(batch)
            records["frames"] += [len(feature) for feature in features]
            pipeline.downstream("test", features, ["a-b-c"] * len(batch), [len(wav) for wav in batch], records=records)
    assert together["frames"] == alone["frames"] == [186, 185, 98]
    torch.testing.assert_close(torch.stack(together["vector"]), torch.stack(alone["vector"]), rtol=1e-5, atol=1e-6)


def test_s3prls_poolings_come_with_s3prls_frames(tmp_path: Path):
    assert [make(tmp_path, modelrc={"published": published}).length_rule for published in (False, True)] == ["own", "round"]


VARIANTS = [f"configs/{name}.yaml" for name in ("amsoftmax", "vanilla", "attentive", "amsoftmax_attentive")]


@pytest.mark.parametrize("name", ["config.yaml", *VARIANTS])
def test_shipped_configs(repo: Path, tmp_path: Path, name: str):
    folder = repo / "downstream/sv_voxceleb1"
    config, published = (yaml.safe_load((folder / file).read_text()) for file in (name, "config.yaml"))
    modelrc = config["downstream_expert"]["modelrc"]
    expert = DownstreamExpert(768, 320, expdir=tmp_path, mode="evaluate", **config)
    assert expert.model.agg_method.output_dim == {"SP": 3000, "AP": 512}[modelrc["agg_module"]]
    for field in ("agg_module", "ObjectiveLoss"):
        published["downstream_expert"]["modelrc"][field] = modelrc[field]
    if name not in ("config.yaml", "configs/amsoftmax.yaml"):
        published["downstream_expert"]["modelrc"]["LossConfig"].pop("AAMSoftmaxLoss")
    assert config == published


def training(layout: Layout, expdir: Path, splits: tuple[str, ...] = (), **datarc: Any) -> DownstreamExpert:
    return make(expdir, {**layout.datarc, **datarc}, mode="train", runner={"eval_dataloaders": list(splits)})


def test_dev_speakers_are_held_out_if_asked(tones, tmp_path: Path):
    everybody, some = training(tones, tmp_path / "a"), training(tones, tmp_path / "b", hold_out_dev=True)
    assert (everybody.speakers, some.speakers) == (["id1", "id2", "id3", "id4"], ["id1", "id2"])
    assert everybody.objective.W.shape == (8, 4)
    assert some.objective.W.shape == (8, 2)
    heard = sorted(name for _, names, _ in some.get_dataloader("train") for name in names)
    assert heard == ["id1-a-1", "id1-a-2", "id2-a-1", "id2-a-2"]


def test_lengths_lie_in_the_experiment_and_survive_a_fresh_start(tones, tmp_path: Path):
    expert = training(tones, tmp_path / "run")
    cache = tmp_path / "run" / CACHE
    written = cache.read_bytes()
    (tmp_path / "run/previous-1").mkdir()
    cache.rename(tmp_path / "run/previous-1" / CACHE)
    expert.after_save(tmp_path / "run/states-1.ckpt", 1)
    assert cache.read_bytes() == written


@torch.no_grad()
def evaluated(expert: DownstreamExpert, split: str, features) -> dict[str, list]:
    records: dict[str, list] = defaultdict(list)
    for wavs, names, samples in expert.get_dataloader(split):
        expert.eval()(split, [features(wav, name) for wav, name in zip(wavs, names, strict=True)], names, samples, records=records)
    return records


def by_speaker(wav: torch.Tensor, name: str) -> torch.Tensor:
    """Features that tell the speaker."""
    direction = torch.randn(5, generator=torch.Generator().manual_seed(int(name[2:].partition("-")[0])))
    return direction.repeat(round(len(wav) / 160), 1)


def test_a_perfect_system(tones, tmp_path: Path):
    torch.manual_seed(0)
    expert = make(tmp_path, tones.datarc)
    records = evaluated(expert, "test", by_speaker)
    assert records["name"] == ["id5-a-1", "id5-a-2", "id6-a-1", "id6-a-2"]
    outcome, log = expert.log_records("test", records, log := Log(), 7), log
    assert outcome.scores["EER"].value == pytest.approx(0, abs=1e-6)
    assert outcome.scores["minDCF"].value == 0
    assert {tag for tag, *_ in log} == {f"sv-voxceleb1/test-{name}" for name in ("EER", "minDCF", "threshold")}
    assert (tmp_path / "log.log").read_text() == f"test at step 7: {outcome.scores['EER'].value}\n"


def test_the_best_on_dev_is_kept_and_its_threshold_remembered(tones, tmp_path: Path):
    expert = make(tmp_path, tones.datarc)
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0], [0.2, 0.9]]))
    names = ["id3-a-1", "id3-a-2", "id4-a-1", "id4-a-2"]
    saved = []
    for step, order in enumerate([(0, 2, 1, 3), (0, 1, 2, 3), (0, 1, 2, 3)]):
        outcome = expert.log_records("dev", {"name": names, "vector": [vectors[row] for row in order]}, Log(), step)
        saved.append((outcome.save_names, round(outcome.scores["EER"].value, 6)))
    assert saved == [(["dev-best.ckpt"], 1.0), (["dev-best.ckpt"], 0.0), ([], 0.0)]
    assert expert.best_score.item() == pytest.approx(0, abs=1e-6)
    torch.save(expert.state_dict(), tmp_path / "state.pt")
    other = make(tmp_path)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert 0.5 < other.threshold < 1


def test_short_recordings_of_trials_are_counted_and_left_out(tmp_path: Path, caplog):
    layout = Layout(tmp_path / "vox", tmp_path / "dev.txt", tmp_path / "test.txt")
    write_tones(layout.root / "test/wav", ["id1/a/1.wav", "id1/a/2.wav", "id2/a/1.wav"])
    save_audio(layout.root / "test/wav/id2/a/2.wav", np.zeros(8000, np.float32), 16000)
    layout.test.write_text("1 id1/a/1.wav id1/a/2.wav\n1 id2/a/1.wav id2/a/2.wav\n0 id1/a/1.wav id2/a/1.wav\n")
    expert = make(tmp_path / "run", layout.datarc)
    outcome = expert.log_records("test", evaluated(expert, "test", by_speaker), Log(), 0)
    assert "1 of 4 recordings were not evaluated, or have less than 15 frames" in caplog.text
    assert "the 1 trials with them are left out" in caplog.text
    assert [name for name, _ in lines(tmp_path / "run/test_predict.txt")] == ["id1-a-1_id1-a-2", "id1-a-1_id2-a-1"]
    assert math.isfinite(outcome.scores["EER"].value)


@pytest.mark.parametrize("frames", [0, 14])
def test_a_training_recording_without_enough_frames_is_named(tones, tmp_path: Path, frames: int):
    expert = training(tones, tmp_path)
    with pytest.raises(DataError, match=f"b gives {frames} frames, and the network needs 15"):
        expert("train", [torch.zeros(20, 5), torch.zeros(frames, 5)], ["a", "b"], [0, 1], records=defaultdict(list))


def test_a_batch_of_training(tones, tmp_path: Path, capsys: pytest.CaptureFixture):
    torch.manual_seed(0)
    expert, records, log = training(tones, tmp_path), defaultdict(list), Log()
    for wavs, names, speakers in expert.get_dataloader("train"):
        assert [f"id{speaker + 1}" for speaker in speakers] == [name.partition("-")[0] for name in names]
        expert("train", [by_speaker(wav, name) for wav, name in zip(wavs, names, strict=True)], names, speakers, records=records).backward()
    assert len(records["loss"]) == 4
    assert all(torch.isfinite(parameter.grad).all() for parameter in expert.parameters())
    expert.log_records("train", records, log, 4)
    assert log == [["sv-voxceleb1/train-loss", pytest.approx(np.mean(records["loss"])), 4]]
    assert capsys.readouterr().out.startswith("sv-voxceleb1/train-loss: ")


@pytest.mark.parametrize("loss", ["AMSoftmaxLoss", "AAMSoftmaxLoss", "SoftmaxLoss"])
def test_a_checkpoint_is_used_without_the_corpus(tones, tmp_path: Path, loss: str):
    trained = make(tmp_path, tones.datarc, {"ObjectiveLoss": loss}, mode="train")
    other = make(tmp_path, modelrc={"ObjectiveLoss": loss}, mode="inference")
    other.load_state_dict(trained.state_dict())
    assert other.speakers == ["id1", "id2", "id3", "id4"]
    assert other.objective(torch.ones(2, 8), torch.tensor([0, 3])) == trained.objective(torch.ones(2, 8), torch.tensor([0, 3]))


def test_a_checkpoint_of_other_speakers_is_refused(tones, tmp_path: Path):
    trained, other = training(tones, tmp_path / "a"), training(tones, tmp_path / "b", hold_out_dev=True)
    with pytest.raises(DataError, match="was trained on 4 speakers, and the corpus has 2"):
        other.load_state_dict(trained.state_dict())


def test_the_loss_needs_speakers(tmp_path: Path):
    with pytest.raises(ConfigError, match="needs a checkpoint"):
        make(tmp_path)("train", [torch.zeros(20, 5)], ["a"], [0], records=defaultdict(list))


def test_inference_and_where_its_threshold_comes_from(tmp_path: Path):
    torch.manual_seed(0)
    features = [torch.randn(20, 5), torch.randn(40, 5)]

    @torch.no_grad()
    def answer(expert: DownstreamExpert, pair: list = features) -> dict[str, Any]:
        (found,) = expert.eval().inference(pair, ["a", "b"])
        assert found["same_speaker"] == (found["score"] > found["threshold"])
        return found

    expert = make(tmp_path / "run", results_dir=tmp_path / "results")
    assert answer(expert, features[:1] * 2)["score"] == pytest.approx(1)
    assert answer(expert)["threshold_from"].startswith("nothing")
    for split, value in (("test", 0.25), ("dev", 0.75)):
        record = {"scores": {f"sv-voxceleb1/{split}-threshold": {"value": value}}}
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / f"results/{split}.json").write_text(json.dumps(record))
        assert answer(expert)["threshold"] == value
    expert.threshold = 0.3
    assert answer(expert)["threshold_from"] == "dev trials in training"
    assert answer(make(tmp_path / "run", threshold=-1))["same_speaker"]


def test_users_recordings_are_prepared_like_the_corpus(tones, tmp_path: Path):
    expert = make(tmp_path)
    (wavs, _, _) = next(iter(make(tmp_path, tones.datarc).get_dataloader("test")))
    torch.testing.assert_close(expert.load_audio(str(tones.root / "test/wav/id5/a/1.wav")), wavs[0])
    save_audio(tmp_path / "silent.wav", np.zeros(16000, np.float32), 16000)
    with pytest.raises(DataError, match=r"silent\.wav has 0\.00 s beside its silences, and at least 0\.19 s are needed"):
        expert.load_audio(str(tmp_path / "silent.wav"))


def test_scores_are_cosines_in_the_order_of_the_trials(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("downstream.sv_voxceleb1.scoring.BLOCK", 7)
    rng = np.random.default_rng(0)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 4)).astype(np.float32)))
    first, second = rng.integers(9, size=(2, 30))
    expected = [float(vectors[a] @ vectors[b]) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(cosine_scores(vectors.numpy(), first, second), expected, rtol=1e-5, atol=1e-6)
    assert cosine_scores(vectors.numpy(), first[:0], second[:0]).shape == (0,)


def test_everything_is_looked_at_when_a_training_begins(tones, tmp_path: Path):
    missing = {"test_meta_data": str(tmp_path / "nowhere")}
    training(tones, tmp_path / "run", ("dev",), **missing)
    make(tmp_path / "run", {**tones.datarc, **missing}, mode="inference", runner={"eval_dataloaders": ["test"]})
    with pytest.raises(DataError, match=r"test_meta_data: trial list .*nowhere does not exist; .*fetch_lists"):
        training(tones, tmp_path / "run", ("dev", "test"), **missing)


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"datarc": {"file_pth": "x"}}, ConfigError, "did you mean 'file_path'"),
        ({"datarc": {"eval_batch_size": None}}, ConfigError, "field 'eval_batch_size' is missing"),
        ({"datarc": {"file_path": ["x"]}}, ConfigError, r"file_path must be a text, not \['x'\]"),
        ({"datarc": {"eval_batch_size": 0}}, ConfigError, "eval_batch_size must be a whole number of at least 1"),
        ({"datarc": {"max_timestep": 300}}, ConfigError, "max_timestep must be a whole number of at least 3040, not 300"),
        ({"datarc": {"vad_config": {"min_sec": 2}}}, ConfigError, "min_sec must be a whole number of at least 3040, not 2"),
        ({"datarc": {"vad_config": 7}}, ConfigError, "vad_config is 7, not a section"),
        ({"datarc": {"hold_out_dev": "yes"}}, ConfigError, "hold_out_dev must be True or False"),
        ({"modelrc": {"module": "XVectr"}}, UnknownNameError, "modelrc.module 'XVectr'; did you mean 'XVector'"),
        ({"modelrc": {"agg_module": "SPP"}}, UnknownNameError, "agg_module 'SPP'; did you mean 'SP'"),
        ({"modelrc": {"ObjectiveLoss": "AMSoftmax"}}, UnknownNameError, "ObjectiveLoss 'AMSoftmax'; did you mean 'AMSoftmaxLoss'"),
        ({"modelrc": {"LossConfig": {"AMSoftmaxLoss": {"scale": 3}}}}, ConfigError, "LossConfig.AMSoftmaxLoss: unknown field 'scale'"),
        ({"modelrc": {"LossConfig": {"AMSoftmaxLoss": {"s": "abc"}}}}, ConfigError, "AMSoftmaxLoss: s must be a number, not 'abc'"),
        ({"modelrc": {"module_config": {"XVector": {"dropout_p": 1.5}}}}, ConfigError, "XVector: dropout_p must be a number from 0 to 1"),
        ({"modelrc": {"module_config": {"XVector": {"agg_dim": 0}}}}, ConfigError, "agg_dim must be a whole number of at least 1, not 0"),
        ({"modelrc": {"module_config": {"XVector": 3}}}, ConfigError, "XVector: 3 is not a section of fields"),
        ({"threshold": 7}, ConfigError, "threshold is 7 and should be a cosine"),
        ({"mode": "train"}, ConfigError, "field 'file_path' is missing"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, **settings)


def test_unknown_split_and_another_training_split(tones, tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown split 'tset'; did you mean 'test'"):
        make(tmp_path).get_dataloader("tset")
    with pytest.raises(UnknownNameError, match="unknown split to train on 'dev'"):
        make(tmp_path, tones.datarc, mode="train", runner={"train_dataloader": "dev"})


def test_unused_field_of_s3prl_is_said_to_be_unused(tmp_path: Path, caplog):
    make(tmp_path, {"train_meta_data": "dev_speaker_ids.txt"})
    assert "train_meta_data is not used" in caplog.text
