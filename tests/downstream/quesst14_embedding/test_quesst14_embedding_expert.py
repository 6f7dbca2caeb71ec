"""The task by itself and over the command line: what is trained on, what is searched, own recordings, bad input."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from downstream.blocks.quesst import Recording
from downstream.quesst14_embedding.corpus import Pairs, Search, kept_out, read_split
from downstream.quesst14_embedding.dataset import SEGMENT, PairsDataset, RecordingsDataset, filled_up, query_of
from downstream.quesst14_embedding.expert import DownstreamExpert
from downstream.quesst14_embedding.similarity import normalised, pair_losses
from run_downstream import main
from tests.downstream.quesst14_embedding.conformance import SMALL, make_up
from tests.support.corpora import synthetic
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.metrics.detection_files import read_ground_truth, read_stdlist

ROOT = "config.downstream_expert.datarc.dataset_root"
MODEL = {"bottleneck_dim": 4, "hidden_dim": 6, "num_layers": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny synthetic corpus with a made-up truth about dev."""
    root = synthetic("quesst", tmp_path_factory.mktemp("tiny")) / "quesst14Database"
    make_up(root)
    return root


@pytest.fixture
def faulty(corpus, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(corpus, tmp_path / "faulty"))


def expert(place: Path, datarc: dict | None = None, modelrc: dict | None = None, runner: dict | None = None, **fields) -> DownstreamExpert:
    """A task on features of three dimensions."""
    settings = {"datarc": {"batch_size": 2} | (datarc or {}), "modelrc": MODEL | (modelrc or {}), **fields}
    return DownstreamExpert(3, 160, settings, str(place), runner=runner)


def command(root: Path, place: Path, *words: str, more: str = "") -> list[str]:
    override = f"{ROOT}='{root}',,config.downstream_expert.datarc.num_workers=0,,config.runner.tensorboard=False,,{SMALL}{more}"
    return ["-u", "fbank", "-d", "quesst14_embedding", "-p", str(place), "--device", "cpu", *words, "-o", override]


# --- what is trained on, and what is searched


def test_nothing_that_is_held_out_is_trained_on(corpus):
    train, dev, test = (read_split(corpus, split, "nnenglish", 0.25) for split in ("train", "dev", "test"))
    assert isinstance(train, Pairs) and isinstance(dev, Search)
    heard = {document.name for document in train.documents} | {document.name for _, document in train.positives}
    asked = {query.name for query, _ in train.positives}
    of_dev = {recording.name for recording in dev.recordings}
    assert not of_dev & (heard | asked)
    assert not {recording.name for recording in test.recordings if recording.is_query} & (asked | of_dev)
    assert dev.unheard == test.unheard == of_dev & {r.name for r in test.recordings}
    assert {recording.name for recording in test.recordings if not recording.is_query} == heard | dev.unheard
    assert len(dev.unheard) == round(0.25 * len(heard | dev.unheard))
    truth = read_ground_truth(corpus / "scoring/groundtruth_quesst14_dev").targets
    assert {(query.name, document.name) for query, document in train.positives} == {
        pair for pair in truth if pair[0] in asked and pair[1] in heard
    }


def test_what_is_held_out_depends_on_names_alone():
    names = [f"quesst14_{number:05d}" for number in range(100)]
    assert kept_out(names, 0.2) == kept_out(reversed(names), 0.2)
    assert len(kept_out(names, 0.2)) == 20 and kept_out(names, 0.1) < kept_out(names, 0.2)
    assert len(kept_out(names[:2], 0.01)) == 1


def test_pairs_are_true_and_false_ones_in_equal_number(corpus):
    pairs = read_split(corpus, "train", "nnenglish", 0.25)
    dataset = PairsDataset(pairs)
    items = [dataset[index] for index in range(len(dataset))]
    positives = {(query.name, document.name) for query, document in pairs.positives}
    assert len(items) == 2 * len(positives)
    assert {names for *_, names, label in items if label == 1} == positives
    wrong = [names for *_, names, label in items if label == -1]
    assert len(wrong) == len(positives) and not set(wrong) & pairs.targets
    assert {document for _, document in wrong} <= {document.name for document in pairs.documents}
    wavs, names, counts, labels = dataset.collate_fn(items[:3])
    assert len(wavs) == len(names) == 3 + sum(counts) and {len(wav) for wav in wavs} == {SEGMENT}
    assert names[:3] == [item[2][0] for item in items[:3]] and names[3] == items[0][2][1] and labels == [item[3] for item in items[:3]]


def test_of_a_query_only_the_first_segment_is_used(tmp_path):
    wav = np.random.default_rng(0).normal(0, 0.1, 100_000)
    soundfile.write(tmp_path / "a.wav", wav, 16000)
    dataset = RecordingsDataset([Recording(str(tmp_path / "a.wav"), is_query) for is_query in (True, False)])
    assert dataset[0][0].shape == (1, SEGMENT) and dataset[1][0].shape == (6, SEGMENT)
    assert query_of(str(tmp_path / "a.wav")).abs().max() == pytest.approx(dataset[0][0].abs().max())
    assert dataset[1][0].abs().max() == pytest.approx(1, abs=1e-6), "as loud as it can be"
    wavs, names, counts, are_queries = dataset.collate_fn([dataset[0], dataset[1]])
    assert (len(wavs), names, counts, are_queries) == (7, ["a"] * 7, [1, 6], [True, False])


def test_a_query_is_as_loud_in_its_first_segment_as_the_whole_makes_it(tmp_path):
    wav = np.concatenate([np.full(SEGMENT, 0.1), np.full(SEGMENT, 0.4)])
    soundfile.write(tmp_path / "a.wav", wav, 16000)
    assert query_of(str(tmp_path / "a.wav")).max() == pytest.approx(0.25, abs=1e-3)


# --- scores


def test_margin_spares_pairs_that_differ_enough():
    similarities, labels = torch.tensor([0.3, 0.3, -0.5]), torch.tensor([1, -1, -1])
    assert pair_losses(similarities, labels, 0.0).tolist() == pytest.approx([0.7, 0.3, 0.0])
    assert pair_losses(similarities, labels, -1.0).tolist() == pytest.approx([0.7, 1.3, 0.5])


def test_alike_documents_all_score_zero():
    assert normalised(torch.tensor([[0.50, 0.55, 0.6]])).tolist() == [[0, 0, 0]]
    assert normalised(torch.tensor([[0.4]])).tolist() == [[0]]
    scores = normalised(torch.tensor([[0.0, 0.4, 0.8]]))
    assert scores[0].tolist() == pytest.approx([-0.5, 0.5, 1.5], abs=1e-4)


def test_the_better_of_two_evaluations_stays(tmp_path):
    task = expert(tmp_path)
    from downstream.interfaces import Score

    def reached(value: float, entropy: float) -> bool:
        return task._is_best({"maxTWV_searched": Score(value, True), "minCnxe_searched": Score(entropy, False)})

    assert reached(0.0, 0.9) and not reached(0.0, 0.95) and reached(0.0, 0.8), "equal values: the lower entropy"
    assert reached(0.1, 0.99) and not reached(0.0, 0.5)
    other = expert(tmp_path)
    other.load_state_dict(task.state_dict())
    assert other.best_score.tolist() == pytest.approx([0.1, -0.99])


def test_published_weights_need_no_best_score(tmp_path):
    task = expert(tmp_path)
    state = {f"model.{name}": value + 1 for name, value in task.model.state_dict().items()}
    task.load_state_dict(state)
    assert torch.equal(task.state_dict()["model.connector.weight"], state["model.connector.weight"])


# --- over the command line


def test_train_choose_and_test(corpus, tmp_path, capsys):
    place = tmp_path / "run"
    steps = ",,config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.log_step=2"
    assert main(command(corpus, place, more=steps)) == 0
    assert (place / "dev-best.ckpt").exists() and "dev at step 4: " in (place / "log.log").read_text()
    capsys.readouterr()
    assert main(["-m", "evaluate", "-t", "test", "-e", str(place / "dev-best.ckpt"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    result = json.loads((place / "results/dev-best/test.json").read_text())
    assert {"maxTWV", "maxTWV_searched", "minCnxe"} <= set(result["scores"])
    found = read_stdlist(place / "results/dev-best/test/benchmark.stdlist.xml")
    test = read_split(corpus, "test", "nnenglish", 0.25)
    queries, documents = ({r.name for r in test.recordings if r.is_query is wanted} for wanted in (True, False))
    assert set(found) == {(query, document) for query in queries for document in documents}
    assert (place / "benchmark.stdlist.xml").read_bytes() == (place / "results/dev-best/test/benchmark.stdlist.xml").read_bytes()
    assert f"maxTWV: {result['scores']['maxTWV']['value']:.8f}" in said

    shutil.copy(next((corpus / "dev_queries").glob("*.wav")), tmp_path / "word.wav")
    words = ["-t", str(tmp_path / "word.wav"), str(corpus / "eval_queries"), "-e", str(place / "dev-best.ckpt"), "--device", "cpu"]
    assert main(["-m", "inference", *words]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["document"] for answer in answers] == sorted(path.stem for path in (corpus / "eval_queries").glob("*.wav"))
    assert all(-1 <= answer["score"] <= 1 and answer["start"] == 0 for answer in answers)


def test_a_query_is_found_at_its_place(tmp_path):
    """Embeddings are means of features here."""
    task = expert(tmp_path)
    task.embed = lambda features: torch.stack([feature.mean(dim=0) for feature in features])
    document = torch.randn(900, 3) * 0.1
    document[:, 0] += 1
    document[300:600] += torch.tensor([-1.0, 1, 0])
    (answer,) = task.inference([torch.tensor([[0.0, 1, 0]]).expand(300, 3), document], ["q", "d"])
    assert answer["start"] == 3.0 and answer["score"] == pytest.approx(1, abs=0.01)
    (answer,) = task.inference([torch.randn(298, 3), torch.randn(299, 3)], ["q", "d"])
    assert answer["start"] == 0, "an upstream may give a frame or two less"


def test_a_recording_of_ones_own_is_made_whole_segments(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full((400, 2), 0.25), 8000)
    wav = expert(tmp_path).load_audio(str(tmp_path / "a.wav"))
    assert wav.shape == (SEGMENT,) and wav.abs().max().item() == pytest.approx(1, abs=1e-3)
    assert wav[400] > 0.5 and wav[900:].abs().max() == 0
    assert len(filled_up(torch.zeros(SEGMENT + 1))) == SEGMENT + 12000


# --- bad input


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"datarc": {"batchsize": 3}}, "unknown field 'batchsize'; did you mean 'batch_size'"),
        ({"datarc": {"batch_size": 0}}, "batch_size must be a whole number of at least 1, not 0"),
        ({"datarc": {"held_out": 1}}, "held_out must be a number above 0 and below 1, not 1"),
        ({"datarc": {"held_out": "a"}}, "held_out must be a number above 0 and below 1, not 'a'"),
        ({"modelrc": {"hidden": 3}}, "unknown field 'hidden'"),
        ({"modelrc": {"hidden_dim": 0.5}}, "hidden_dim must be a whole number"),
        ({"margin": 2}, "margin must be a number from -1 to 1, not 2"),
        ({"marign": 0}, "unknown field 'marign'; did you mean 'margin'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, says):
    with pytest.raises(ConfigError, match=says):
        expert(tmp_path, **settings)


def test_a_missing_root_and_a_wrong_split_are_named(tmp_path):
    with pytest.raises(ConfigError, match="train_dataloader is 'dev', but pairs to train on are in the split 'train' alone"):
        expert(tmp_path, runner={"train_dataloader": "dev"})
    with pytest.raises(ConfigError, match="'dataset_root' is missing"):
        expert(tmp_path).get_dataloader("train")
    with pytest.raises(UnknownNameError, match="'tset'; did you mean 'test'"):
        expert(tmp_path).get_dataloader("tset")


def fails(root: Path, place: Path, capsys) -> str:
    assert main(command(root, place)) == 2
    *_, line = capsys.readouterr().err.splitlines()
    return line


def test_a_training_without_truth_is_refused_at_once(faulty, tmp_path, capsys):
    (faulty / "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm").write_text("")
    assert "there is nothing to learn" in fails(faulty, tmp_path / "run", capsys)
    shutil.rmtree(faulty / "scoring/groundtruth_quesst14_dev")
    assert "there is no folder" in (said := fails(faulty, tmp_path / "run", capsys)) and "groundtruth_quesst14_dev" in said
    assert "does not exist; downstream/README.md" in fails(tmp_path / "nowhere", tmp_path / "run", capsys)


def test_truth_that_cannot_be_learned_from_is_named(faulty):
    rttm = faulty / "scoring/groundtruth_quesst14_dev/quesst14_dev.rttm"
    documents = [path.stem for path in (faulty / "Audio").glob("*.wav")]
    queries = [path.stem for path in (faulty / "dev_queries").glob("*.wav")]
    rttm.write_text("".join(f"LEXEME {document} 1 0 1 {query}\n" for document in documents for query in queries))
    with pytest.raises(DataError, match="occurs in every document of the training"):
        read_split(faulty, "train", "nnenglish", 0.25)
    heard = [name for name in documents if name not in read_split(faulty, "test", "nnenglish", 0.25).unheard]
    rttm.write_text("".join(f"LEXEME {document} 1 0 1 {query}\n" for document in heard[:2] for query in queries))
    with pytest.raises(DataError, match=r"dev has nothing to measure; held_out is 0.25"):
        read_split(faulty, "dev", "nnenglish", 0.25)


def test_a_damaged_recording_is_named(faulty, tmp_path, capsys):
    for path in (faulty / "Audio").glob("*.wav"):
        path.write_bytes(b"RIFF")
    assert ".wav" in (said := fails(faulty, tmp_path / "run", capsys)) and "quesst14_" in said


def test_nothing_to_search_is_an_error(tmp_path):
    records: dict[str, list] = defaultdict(list)
    with pytest.raises(DataError, match="nothing can be searched"):
        expert(tmp_path).log_records("test", records=records, logger=None, global_step=0)
