"""What no recording of SHEET shows: padding, unknown listeners, temperature, domains above nine, judges, vectors far from the origin."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from downstream.mos_prediction import expert as task
from downstream.mos_prediction import plots, reports, work
from downstream.mos_prediction.dataset import Vocabularies
from downstream.mos_prediction.expert import DownstreamExpert
from downstream.mos_prediction.losses import Criterion
from downstream.mos_prediction.models.conditioned import AlignNet
from downstream.mos_prediction.models.mb_net import MBNet
from downstream.mos_prediction.models.parts import Answer, Conditions, over_frames
from downstream.mos_prediction.models.ssl_mos import SSLMOS
from downstream.mos_prediction.neighbours import WEIGHTINGS, Datastore, Index, naive_knn, nearest_domains
from downstream.mos_prediction.ranking import Ranking
from downstream.mos_prediction.settings import Inference
from downstream.mos_prediction.table import MEAN_LISTENER, Rating
from downstream.mos_prediction.vcc import read_2016, read_2018
from tests.downstream.mos_prediction.layouts import rated_tones
from utility.errors import DataError

ROW = Rating("a.wav", "s", "u", 3.0, 3.0)


@pytest.mark.parametrize("make", [SSLMOS, AlignNet], ids=["SSLMOS", "AlignNet"])
def test_an_utterance_scores_alone_as_in_a_batch(make):
    torch.manual_seed(0)
    model = make(4, decoder_rnn_dim=3).eval() if make is AlignNet else make(4).eval()
    short, long = torch.randn(1, 5, 4), torch.randn(1, 9, 4)
    batch = torch.cat([torch.nn.functional.pad(short, (0, 0, 0, 4), value=7.0), long])
    with torch.no_grad():
        together = model.answer(batch, Conditions(), torch.tensor([5, 9])).scores
        alone = torch.cat([model.answer(x, Conditions(), torch.tensor([x.size(1)])).scores for x in (short, long)])
    torch.testing.assert_close(together, alone)
    assert over_frames(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([2])).item() == 2


def test_unknown_listeners_are_the_mean_listener():
    rows = [dataclasses.replace(ROW, listener=name) for name in ("L1", "L0", "nobody", None)]
    assert Vocabularies(listeners=["L0", "L1"]).conditions(rows, torch.device("cpu")).listeners.tolist() == [1, 0, 2, 2]


def test_the_mean_listener_is_one_more_and_trained(tmp_path):
    table = rated_tones(tmp_path, "train", listeners=3)
    model = {"use_listener_modeling": True, "listener_emb_dim": 2, "use_decoder_rnn": False, "decoder_dnn_dim": 3}
    model |= {"use_domain_modeling": True, "domain_emb_dim": 2}
    config = {
        "datarc": {"train_csv": str(table), "dev_csv": str(table), "wav_only": False},
        "modelrc": {"model_type": "AlignNet", "model_params": model},
        "lossrc": {"listener_score_criterions": [{"criterion_type": "ScalarLoss"}]},
    }
    expert = DownstreamExpert(4, 160, config, str(tmp_path), mode="train", runner={"eval_dataloaders": ["dev"]})
    rows = expert.rows_of("train")
    assert [row.listener for row in rows[:5]] == ["L0", "L1", "L2", MEAN_LISTENER, "L0"]
    assert rows[3].score == rows[3].mean == pytest.approx(sum(row.score for row in rows[:3]) / 3)
    expert._loss([torch.randn(6, 4)], rows[3:4], [1]).backward()
    assert expert.model.listener_embeddings.weight.grad.abs().sum(1).gt(0).tolist() == [False, False, False, True]
    assert len(expert.rows_of("dev")) == 12
    assert expert.model.domain_embeddings.num_embeddings == 2


def test_data_sets_that_training_did_not_have_are_refused():
    with pytest.raises(DataError, match="is of data set 2; the training had 0 to 1"):
        Vocabularies(domains=2).conditions([dataclasses.replace(ROW, domain=2)], torch.device("cpu"))


@pytest.mark.parametrize(("name", "logits"), [("negative_distance", [-1.0, -4.0]), ("inverse_distance", [1.0, 0.25])])
def test_temperature_divides_the_logits(name, logits):
    for temperature in (0.5, 1.0, 2.0):
        wanted = (torch.tensor([logits]) / temperature).softmax(-1)
        torch.testing.assert_close(WEIGHTINGS[name](torch.tensor([[1.0, 4.0]]), temperature), wanted)
    store = Datastore(["a", "b"], np.array([[1.0], [2.0]], np.float32), np.array([1.0, 5.0]))
    cold, hot = (naive_knn(Index(store), torch.zeros(1, 1), 2, name, temperature)[0] for temperature in (0.1, 100.0))
    assert cold < 1.1
    assert hot == pytest.approx(3, abs=0.1)


def test_a_pool_may_have_more_than_ten_data_sets():
    store = Datastore(["1_a_1_u", "12_b_12_v"], np.array([[0.0], [5.0]], np.float32), np.array([1.0, 5.0]))
    assert nearest_domains(Index(store), torch.tensor([[4.0], [1.0]])) == ([12, 1], ["12_b_12_v", "1_a_1_u"])


def test_neighbours_far_from_the_origin_are_the_nearest():
    rng = np.random.default_rng(0)
    entries = rng.normal(0, 1, (300, 8))
    query = entries[17] + 0.01
    distances = np.square(entries - query).sum(1)
    store = Datastore([str(number) for number in range(300)], (entries + 3000).astype(np.float32), np.ones(300))
    found = Index(store).nearest(torch.tensor(query + 3000, dtype=torch.float32)[None], 5)
    assert found.indices[0].tolist() == np.argsort(distances)[:5].tolist()


@pytest.mark.parametrize(("truth", "predicted", "ends"), [([1, 3, 5], [2, 3, 4], (1, 5)), ([2, 30, 95], [-3, 40, 80], (-3, 95))])
def test_pictures_show_every_score(truth, predicted, ends, monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(plots.Picture, "__exit__", lambda self, *_: figures.append(self.figure.axes[0]))
    plots.draw_all(tmp_path, ["a", "a", "b"], truth, predicted)
    counts, utterances, systems = figures
    assert sum(bar.get_height() for bar in counts.patches) == 6
    assert utterances.get_xlim() == utterances.get_ylim() == ends
    assert utterances.collections[0].get_offsets().tolist() == [list(pair) for pair in zip(truth, predicted, strict=True)]
    assert len(systems.collections[0].get_offsets()) == 2


def test_an_undefined_evaluation_ranks_last_and_is_still_known():
    ranking = Ranking(2, None, "highest")
    assert [ranking.add(step, value) for step, value in ((1, None), (2, -0.5), (3, None))] == [True, True, False]
    assert (ranking.best, ranking.kept) == (2, [2, 1])


def test_patience_ends_with_its_last_evaluation_and_an_evaluation_counts_once():
    ranking = Ranking(1, 2, "lowest")
    found = [(ranking.add(step, value), ranking.exhausted) for step, value in ((1, 0.5), (2, 0.7), (3, 0.6))]
    assert found == [(True, False), (False, False), (False, True)]
    again = Ranking(2, None, "highest")
    assert [again.add(step, value) for step, value in ((1, 0.9), (2, 0.5), (1, 0.2), (3, 0.4))] == [True, True, True, True]
    assert again.ranked == [2, 3, 1]  # the value that step 1 had last


def test_checkpoints_are_chosen_by_the_first_evaluated_split_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "draw_all", lambda *_: None)
    table = rated_tones(tmp_path, "train", systems=2, samples=2)
    config = {
        "datarc": {"train_csv": str(table), "dev_csv": str(table)},
        "modelrc": {"model_type": "SSLMOS"},
        "lossrc": {"mean_score_criterions": [{"criterion_type": "ScalarLoss"}]},
    }
    expert = DownstreamExpert(4, 160, config, str(tmp_path), mode="train", runner={"eval_dataloaders": ["dev"]})
    logger = SimpleNamespace(add_scalar=lambda *_, **__: None)
    rows = expert.rows_of("dev")
    outcomes = [
        expert.log_records(split, {"samples": rows, "answers": [row.mean for row in rows]}, logger, 7, [0], 1)
        for split in ("vcc2016_test", "dev")
    ]
    assert [outcome.save_names for outcome in outcomes] == [[], ["checkpoint-7steps.pkl"]]
    assert expert.ranking.history == [(7, 1.0)]


def test_mbnet_weighs_the_frames_of_a_segment_and_adds_the_judge():
    torch.manual_seed(0)
    model = MBNet(3, 4, projector_dim=5).eval()
    segments, judges = torch.randn(2, 2, 6, 3), torch.tensor([1, 3])
    with torch.no_grad():
        frames = model(segments, Conditions(listeners=judges))
        x = model.connector(segments)

        def branch(own, y):
            return torch.stack([own.score((own.weight(part).softmax(0) * part).sum(0))[0] for part in y.flatten(0, 1)]).view(2, 2)

        mean = 2 * branch(model.mean_branch, x).tanh() + 3
        bias = branch(model.bias_branch, x + model.listener_embeddings.weight[judges][:, None, None])
        torch.testing.assert_close(frames.mean, mean)
        torch.testing.assert_close(frames.listener, mean + bias)
        torch.testing.assert_close(model.answer(segments, Conditions()).scores, mean.mean(1))
        torch.testing.assert_close(model.answer(segments, Conditions(), torch.tensor([1, 2])).scores[0], mean[0, 0])


def test_the_voice_conversion_challenges_are_read_as_their_folders_are(tmp_path):
    speech = tmp_path / "Converted_speech_of_submitted_systems"
    results = tmp_path / "VCC2018_Results"
    for folder in (speech, results, tmp_path / "unified_speech"):
        folder.mkdir()
    name = "N06_VCC2SF1_VCC2TM1_30001_HUB.wav"
    (speech / name).touch()
    (results / "train_judge.csv").write_text(f"WAV_PATH,MEAN,MOS,JUDGE\nx/{name},3.5,4,J1\n")
    (row,) = read_2018(tmp_path, "train", "field")
    assert (row.system, row.score, row.mean, row.listener) == ("N06_HUB", 4, 3.5, "J1")
    (tmp_path / "system_mos.csv").write_text("source,A,B\n4.5,2,3\n")
    for stem in ("A_1", "B_1", "Z_1"):
        (tmp_path / "unified_speech" / f"{stem}.wav").touch()
    assert [(row.system, row.score) for row in read_2016(tmp_path, "field")] == [("A", 2), ("B", 3)]


def test_an_utterance_is_no_neighbour_of_itself_where_fusion_is_fitted(monkeypatch):
    vectors = torch.arange(5.0)[:, None] ** 2
    store = Datastore([f"s_u{number}" for number in range(5)], vectors.numpy(), np.arange(5.0))
    samples = [dataclasses.replace(ROW, sample=f"u{number}") for number in (0, 3)]
    features = [[vectors[0][None]], [vectors[3][None]]]
    monkeypatch.setattr(work, "_features", lambda expert, context, rows: zip(rows, features, strict=True))
    head = SimpleNamespace(output_step=0.25)
    answer = Answer(torch.tensor([3.0]), None, torch.zeros(1, 2, 17))
    expert = SimpleNamespace(model=SimpleNamespace(categorical_head=head), answer=lambda features, rows: answer)
    for without, scores in ((False, [[0, 1], [3, 2]]), (True, [[1, 2], [2, 4]])):
        evidence = work._evidence(expert, None, samples, Index(store), 2, without_itself=without)
        assert evidence.scores.tolist() == scores
        assert evidence.squared.shape == (2, 2)


def test_a_test_set_is_scored_by_samples_and_keeps_the_data_sets_that_it_names(monkeypatch, tmp_path):
    (tmp_path / "a.wav").touch(), (tmp_path / "b.wav").touch()
    rows = ["a.wav,1,s,u,0", "a.wav,4,s,u,0", "b.wav,2,t,v,", "b.wav,2,t,v,"]
    lines = ["wav_path,score,system_id,sample_id,domain_idx", *(f"{tmp_path}/{row}" for row in rows)]
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    asked = []

    def answer(features, rows):
        asked.extend((row.sample, row.mean, row.domain) for row in rows)
        return Answer(torch.tensor([3.0 + len(asked)]))

    monkeypatch.setattr(reports, "draw_all", lambda *_: None)
    monkeypatch.setattr(work, "_features", lambda expert, context, samples: ((sample, []) for sample in samples))
    settings = SimpleNamespace(inference=Inference(csv=str(tmp_path / "set.csv"), domain_idx=5))
    work.infer(
        SimpleNamespace(settings=settings, answer=answer, criterions={"mean_score_criterions": Criterion(None, "")}),
        SimpleNamespace(results_dir=tmp_path / "results"),
    )
    assert asked == [("u", 2.5, 0), ("v", 2.0, 5)]
    written = (tmp_path / "results/set/results.csv").read_text().splitlines()
    assert [line.split(",")[1:] for line in written[1:]] == [["s", "u", "2.5", "4.0"], ["t", "v", "2.0", "5.0"]]


def test_a_representation_is_the_mean_of_all_frames():
    assert work._pooled([torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[8.0, 3.0]])]).tolist() == [4, 1]


@pytest.mark.parametrize(
    ("model", "params", "losses", "wanted"),
    [
        ("SSLMOS", {}, {"mean_score_criterions": [{"criterion_type": "ScalarLoss"}]}, lambda frames: (frames.mean - 2).square().mean()),
        (
            "AlignNet",
            {"use_listener_modeling": True, "listener_emb_dim": 2, "decoder_rnn_dim": 3},
            {"listener_score_criterions": [{"criterion_type": "ScalarLoss"}]},
            lambda frames: (frames.listener - 5).square().mean(),
        ),
        (
            "SSLMOS",
            {"mean_net_output_type": "categorical", "mean_net_output_dim": 17},
            {"mean_score_criterions": [{"criterion_type": "CategoricalLoss"}]},
            lambda frames: -frames.mean.log_softmax(-1)[..., 4].mean(),
        ),
    ],
    ids=["mean", "listener", "classes"],
)
def test_each_head_is_trained_on_its_own_target(model, params, losses, wanted, tmp_path):
    """This rating is 5, the mean opinion 2, which is class 4 of steps of 0.25."""
    table = rated_tones(tmp_path, "train")
    data = {"train_csv": str(table), "dev_csv": str(table), "wav_only": False}
    config = {"datarc": data, "modelrc": {"model_type": model, "model_params": params}, "lossrc": losses}
    expert = DownstreamExpert(4, 160, config, str(tmp_path), mode="train", runner={"eval_dataloaders": ["dev"]}).eval()
    rating, features = dataclasses.replace(ROW, score=5.0, mean=2.0, listener="L0"), torch.randn(6, 4)
    with torch.no_grad():
        frames = expert.model(features[None], expert.vocabularies.conditions([rating], features.device), torch.tensor([6]))
        torch.testing.assert_close(expert._loss([features], [rating], [1]), wanted(frames))
