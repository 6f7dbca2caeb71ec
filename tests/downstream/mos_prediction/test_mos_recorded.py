"""Predictors, losses, trainings, nearest neighbours and bookkeeping against what SHEET gave."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from downstream.mos_prediction.datastore import read_datastore
from downstream.mos_prediction.losses import CRITERIONS, Criterion, class_of
from downstream.mos_prediction.neighbours import Datastore, Index, naive_knn, nearest_domains
from downstream.mos_prediction.ranking import Ranking
from downstream.mos_prediction.sheet import translated
from tests.downstream.mos_prediction.recorded import CASES, MANIFEST, arrays, cases, checkpoint_of, conditions, features, predictor
from utility.metrics.mos import KEYS, evaluate, log_line
from utility.training.optimizers import build_optimizer
from utility.training.schedulers import build_scheduler

LOSSES = json.loads((MANIFEST.parent / "losses/values.json").read_text())
FRAMES = {"mean_scores": "mean", "ld_scores": "listener", "mean_scores_logvar": "log_variance", "categorical_head_scores": "classes"}


@pytest.mark.parametrize("name", cases("model", "model_on_given_features"))
def test_predictors_give_the_recorded_scores(name, golden):
    folder, case = golden(f"mos/{name}"), CASES[name]
    net, read = predictor(case), arrays(folder)
    net.load_state_dict(checkpoint_of(folder))
    x, told = features(case, read), conditions(read)
    close = {"rtol": case["rtol"], "atol": case["atol"]}
    with torch.no_grad():
        frames, answer = net(x, told), net.answer(x, told)
    compared = 0
    for theirs, ours in FRAMES.items():
        if (wanted := read(f"forward.{theirs}")) is not None:
            given = getattr(frames, ours)
            torch.testing.assert_close(given, wanted.reshape(given.shape), **close)
            compared += 1
    assert compared
    torch.testing.assert_close(answer.scores, read("infer_batch.scores"), **close, check_dtype=False)
    if (wanted := read("infer_batch.logvars")) is not None:
        torch.testing.assert_close(answer.log_variances, wanted, **close)
    if (alone := read("infer_single.scores")) is not None and read("ssl.lengths") is not None and "wavlm" not in name:
        lengths = read("ssl.lengths")
        with torch.no_grad():
            own = net.answer(x, told, lengths).scores
        torch.testing.assert_close(own[lengths == lengths.max()], alone[lengths == lengths.max()], **close, check_dtype=False)


@pytest.mark.parametrize("name", ["ldnet_ml", "ldnet_mn"])
def test_ldnet_in_training_mode(name, golden):
    folder, case = golden(f"mos/{name}"), CASES[name]
    net, read = predictor(case), arrays(folder)
    net.load_state_dict(checkpoint_of(folder))
    net.train()
    for part in net.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    frames = net(read("in.mag_sgram"), conditions(read))
    torch.testing.assert_close(frames.listener, read("forward_train_p0.ld_scores")[..., 0], rtol=1e-4, atol=5e-5)
    norm = net.encoder.features[0][1]
    torch.testing.assert_close(norm.running_mean, read("train_p0.running_mean_first_bn"), rtol=1e-4, atol=5e-5)
    torch.testing.assert_close(norm.running_var, read("train_p0.running_var_first_bn"), rtol=1e-4, atol=5e-5)


def test_the_published_ldnet_has_the_published_number_of_parameters():
    from downstream.mos_prediction.models.ld_net import LDNet

    case = CASES["ldnet_ml_published_config"]
    assert sum(weight.numel() for weight in LDNet(case["num_listeners"]).parameters()) == case["n_params"]


@pytest.mark.parametrize("entry", LOSSES, ids=lambda e: e["key"])
def test_losses_and_their_gradients(entry, golden):
    if "value" not in entry:
        pytest.skip("fails in the public code")
    read = arrays(golden("mos/losses"))
    leaf = read(entry["pred"]).clone().requires_grad_()
    scores = leaf[..., 0] if leaf.dim() == 3 and leaf.size(-1) == 1 else leaf
    options = {name: entry[name] for name in ("order", "tau", "margin") if name in entry}
    lengths = read("lens") if "lens" in entry else None
    loss = CRITERIONS[entry["loss"]](**options)(scores, read(entry.get("target", "gt")), lengths, read("logvar"))
    loss.backward()
    assert loss.item() == pytest.approx(entry["value"], rel=1e-5)
    torch.testing.assert_close(leaf.grad, read(f"grad.{entry['key']}"), rtol=1e-5, atol=1e-6)


def test_classes_of_scores(golden):
    recorded = json.loads((golden("mos/losses") / "class_index.json").read_text())
    for step, classes in recorded["classes"].items():
        assert class_of(torch.tensor(recorded["scores"], dtype=torch.float64), float(step)).tolist() == classes


@pytest.mark.parametrize("name", cases("training_trajectory"))
def test_trainings_take_the_recorded_course(name, golden):
    folder, case = golden(f"mos/{name}"), CASES[name]
    config = {key: case[key] for key in ("model_type", "model_params", "grad_norm", "gradient_accumulate_steps")}
    config |= {"optimizer_type": case["optimizer"], "optimizer_params": case["optimizer_params"], **case["criterions"]}
    if case["scheduler"]:
        config |= dict(zip(("scheduler_type", "scheduler_params"), case["scheduler"], strict=True))
    ours, read = translated(config), arrays(folder)
    net = predictor(case)
    net.load_state_dict(torch.load(folder / "init.pt", weights_only=True))
    losses = {key: Criterion(own, key) for key, own in ours["downstream_expert"]["lossrc"].items()}
    optimizer = build_optimizer(ours["optimizer"], [net], None, 100)
    scheduler = build_scheduler(optimizer, 100, ours["scheduler"]) if "scheduler" in ours else None
    accumulate, optional = case["gradient_accumulate_steps"], {"domain_idxs", "listener_idxs"}
    for step, wanted in enumerate(read("loss").tolist()):
        told = conditions(lambda key, step=step: None if key not in optional or read(key) is None else read(key)[step], "")
        frames, mean, own = net(read("features")[step], told), read("gt_avg")[step], read("gt_scores")[step]
        loss = torch.zeros(())
        if frames.mean is not None:
            loss = loss + losses["mean_score_criterions"](frames.mean, mean, None, frames.log_variance)
        if frames.listener is not None:
            loss = loss + losses["listener_score_criterions"](frames.listener, own)
        if frames.classes is not None:
            loss = loss + losses["categorical_head_criterions"](frames.classes, class_of(mean, 0.25))
        assert loss.item() == pytest.approx(wanted, rel=case["rtol"], abs=case["atol"])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(read("lr")[step].item(), rel=1e-9)
        (loss / accumulate).backward()
        if (step + 1) % accumulate == 0:
            torch.nn.utils.clip_grad_norm_(net.parameters(), ours["runner"]["gradient_clipping"])
            optimizer.step()
            optimizer.zero_grad()
            if scheduler:
                scheduler.step()
    for key, value in checkpoint_of(folder).items():
        torch.testing.assert_close(net.state_dict()[key], value, rtol=case["rtol"], atol=case["atol"])


@pytest.mark.parametrize("name", ["stepLR_a", "stepLR_b", "multistep_a", "warmup_a", "warmup_b"])
def test_schedules(name, golden):
    folder = golden("mos/schedulers")
    entry = next(e for e in json.loads((folder / "params.json").read_text()) if e["key"] == name)
    known = ("step_size", "gamma", "milestones", "warmup_steps")
    params = {key: value for key, value in entry.items() if key in known}
    config = {"model_type": "SSLMOS", "scheduler_type": entry["type"], "scheduler_params": params}
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=entry["lr"])
    scheduler = build_scheduler(optimizer, entry["n"], translated(config)["scheduler"])
    rates = []
    for _ in range(entry["n"]):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates, np.load(folder / "io.npz")[name], rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["random", "ties_half_points", "ties_heavy", "anticorrelated", "constant_prediction", "single_system", "two_systems_few"]
)
def test_metrics(name, golden):
    folder = golden("mos/metrics")
    wanted = json.loads((folder / "expected.json").read_text())[name]
    with (folder / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    given = evaluate([r["system_id"] for r in rows], [float(r["avg_score"]) for r in rows], [float(r["answer"]) for r in rows])
    for key in KEYS:
        assert given[key] == (None if wanted["metrics"][key] is None else pytest.approx(wanted["metrics"][key], rel=1e-6, abs=1e-9))
    assert log_line(given) == wanted["printed"]


def test_checkpoints_are_ranked_and_kept_and_patience_runs_out(golden):
    for run in json.loads((golden("mos/bookkeeping") / "expected.json").read_text()):
        ranking = Ranking(run["keep_nbest_models"], run["patience"], run["order"])
        for entry in run["evaluations"]:
            again = Ranking(run["keep_nbest_models"], run["patience"], run["order"])
            again.restore(ranking.state())  # as after a resume
            ranking = again
            ranking.add(entry["step"], entry["value"])
            assert sorted(ranking.kept) == entry["files"]
            assert (ranking.best, ranking.left) == (entry["best"], entry["patience_left"])
            assert ranking.exhausted == (entry["patience_left"] == 0)


def test_nearest_neighbours(golden):
    folder = golden("mos/knn")
    read, ids = arrays(folder), json.loads((folder / "ids.json").read_text())
    store = Datastore(
        ids["paths"] if len(ids["paths"]) == 75 else [str(i) for i in range(75)], read("store_embeds").numpy(), read("store_scores").numpy()
    )
    for k in (1, 3, 10, 60):
        torch.testing.assert_close(Index(store).nearest(read("queries"), k).squared, read(f"distances_k{k}"), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(naive_knn(Index(store), read("queries"), k), read(f"final_k{k}"), rtol=1e-4, atol=1e-4)
        older = naive_knn(Index(store), read("queries"), k, "inverse_distance")
        np.testing.assert_allclose(older, read(f"final_olddist_k{k}"), rtol=1e-4, atol=1e-4)


def test_a_recorded_datastore_is_read(golden):
    pytest.importorskip("h5py")
    folder = golden("mos/knn")
    read, ids = arrays(folder), json.loads((folder / "ids.json").read_text())
    store = read_datastore(folder / "datastore.h5")
    assert store.names == sorted(store.names)
    np.testing.assert_allclose(naive_knn(Index(store), read("queries"), 10), read("final_k10"), rtol=1e-4, atol=1e-4)
    nearest = [names[0] for names in ids["neighbour_ids"]["1"]]
    domains, names = nearest_domains(Index(store), read("queries"))
    assert names == nearest
    assert domains == [int(name.split("_")[0]) for name in nearest]
    small = read_datastore(folder / "datastore_small.h5")
    np.testing.assert_allclose(naive_knn(Index(small), read("queries"), 10), read("small_final_k10"), rtol=1e-4, atol=1e-4)
