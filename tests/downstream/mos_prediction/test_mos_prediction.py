"""What the expert does beyond the numbers: tables, vocabularies, checkpoints, reports, foreign files, and what it says of bad input."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from downstream.mos_prediction import ensemble, fusion
from downstream.mos_prediction.audio import load, segments, within_limits
from downstream.mos_prediction.build import check_scale
from downstream.mos_prediction.checkpoints import BEST, keep_best, name_of
from downstream.mos_prediction.dataset import RatingDataset
from downstream.mos_prediction.datastore import read_datastore, write_datastore
from downstream.mos_prediction.neighbours import Datastore, Index
from downstream.mos_prediction.reports import Predictions, write_report
from downstream.mos_prediction.sheet import is_sheet, translated
from downstream.mos_prediction.table import MEAN_LISTENER, Rating, read_tables, samples_of, with_mean_listener
from tests.downstream.mos_prediction.layouts import override
from tests.downstream.mos_prediction.recorded import arrays
from utility.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from utility.import_checkpoint import imported


def table(place: Path, *rows: str, header: str = "wav_path,score,system_id,sample_id") -> Path:
    soundfile.write(place / "a.wav", np.zeros(2000), 16000)
    path = place / "set.csv"
    path.write_text("\n".join([header, *(row.replace("A.wav", str(place / "a.wav")) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["A.wav,good,s,u"], "line 2: the score 'good' is no number"),
        (["A.wav,nan,s,u"], "line 2: the score 'nan' is no number"),
        (["A.wav,3,s,u", "b.wav,3,s,v"], "line 3: there is no recording b.wav"),
        (["A.wav,3,s,u", "b.wav,3,s,u"], "line 3: the sample u is b.wav, but"),
        (["A.wav,3,,u"], "line 2 has no system_id"),
        (["A.wav,3,s,u", "A.wav,3,t,u"], "line 3: the sample u is of the system t, but of s in line 2"),
        (["A.wav,3,5,s,u"], "line 2 has more values than the header has columns"),
        ([], "has no row beneath its header"),
    ],
)
def test_a_broken_table_is_one_sentence(rows, sentence, tmp_path):
    with pytest.raises(DataError) as caught:
        read_tables([table(tmp_path, *rows)], "config.datarc.train_csv")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("config.datarc.train_csv: table")


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no column 'score'; did you mean 'scores'\?"):
        read_tables([table(tmp_path, header="wav_path,scores,system_id,sample_id")])


def test_ratings_means_and_the_mean_listener(tmp_path):
    header = "wav_path,score,system_id,sample_id,listener_id"
    ratings = read_tables([table(tmp_path, "A.wav,2,s,u,L1", "A.wav,5,s,u,L2", header=header)])
    assert [(r.score, r.mean, r.listener) for r in ratings] == [(2, 3.5, "L1"), (5, 3.5, "L2")]
    assert [(r.score, r.listener) for r in samples_of(ratings)] == [(3.5, None)]
    assert [(r.score, r.listener) for r in with_mean_listener(ratings)] == [(2, "L1"), (5, "L2"), (3.5, MEAN_LISTENER)]
    both = read_tables([tmp_path / "set.csv", tmp_path / "set.csv"])
    assert {r.sample for r in both} == {"0_u", "1_u"}


def test_recordings_are_heard_as_recorded(golden):
    folder = golden("mos/audio_loading")
    read = arrays(folder)
    for name, wanted in json.loads((folder / "lengths.json").read_text()).items():
        wav = load(folder / "wavs" / name)
        assert len(wav) == wanted["samples_out"]
        stem = name.removesuffix(".wav")
        if (whole := read(stem)) is not None:
            np.testing.assert_allclose(wav, whole, atol=1e-6)
        else:
            np.testing.assert_allclose(wav[:400], read(f"{stem}.head"), atol=1e-6)
            np.testing.assert_allclose(wav[-400:], read(f"{stem}.tail"), atol=1e-6)


@pytest.mark.parametrize(("samples", "heard"), [(100, 1040), (101, 1039), (1040, 1040), (160000, 160000), (160001, 160000)])
def test_a_recording_has_silence_on_both_sides_or_ends_after_ten_seconds(samples, heard):
    wav = within_limits(np.ones(samples, np.float32))
    assert len(wav) == heard
    assert wav.sum() == min(samples, 160000)
    assert (wav == wav[::-1]).all()


def test_other_rates_are_resampled_along_time(tmp_path):
    time = np.arange(48000) / 48000
    soundfile.write(tmp_path / "x.wav", np.stack([np.sin(2 * np.pi * 440 * time)] * 2, 1), 48000)
    wav = load(tmp_path / "x.wav")
    assert len(wav) == 16000
    assert np.abs(np.fft.rfft(wav)).argmax() == 440


@pytest.mark.parametrize("padding", ["repetitive", "zero_padding"])
def test_batches_are_padded_as_recorded(padding, golden):
    read = arrays(golden("mos/collate"))
    items = [(read(f"item{number}"), Rating("", "", "", 0, 0)) for number in range(4)]
    wavs, _, counts = RatingDataset([], None, padding).collate_fn(items)
    ours = sorted(map(tuple, torch.stack(wavs).tolist()))
    assert ours == sorted(map(tuple, read(f"{padding}.waveform").tolist()))
    assert counts == [1] * 4


def test_segments_overlap_by_half_and_cover_everything():
    assert [len(part) for part in segments(np.ones(500))] == [16000]
    parts = segments(np.arange(20000.0))
    assert [part[0] for part in parts] == [0, 8000]
    assert parts[-1][11999] == 19999
    assert not parts[-1][12000:].any()


def test_the_best_are_kept_and_the_link_survives_a_move(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for step in (100, 200, 300):
        (run / name_of(step)).write_text(str(step))
    keep_best(run, [300, 100], BEST)
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint-100steps.pkl", "checkpoint-300steps.pkl", BEST]
    moved = run.rename(tmp_path / "moved")
    assert (moved / BEST).read_text() == "300"


def test_a_report_says_what_is_undefined(tmp_path, capsys):
    samples = [Rating(f"{i}.wav", "one", f"u{i}", 3.0, 2.0 + i) for i in range(4)]
    scores = write_report(tmp_path, Predictions(samples, [2.1, 2.9, 4.2, 4.8], [0.1] * 4), bootstrap=20)
    printed = capsys.readouterr().out
    assert "System-level correlations are undefined: all 4 samples are of one system." in printed
    assert "nan" not in printed.replace("LCC = nan", "").replace("SRCC = nan", "").replace("KTAU = nan", "")
    assert "sys_SRCC" not in scores and scores["utt_SRCC"].value == 1
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"wav_path": "0.wav", "system_id": "one", "sample_id": "u0", "avg_score": "2.0", "answer": "2.1", "logvar": "0.1"}
    assert {path.name for path in tmp_path.glob("*.png")} == {"distribution.png", "utt_scatter_plot.png", "sys_scatter_plot.png"}
    constant = write_report(tmp_path, Predictions(samples, [3.0] * 4))
    assert "all answers are equal" in capsys.readouterr().out
    assert set(constant) == {"utt_MSE", "sys_MSE"}


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_datastores_are_written_and_read(suffix, tmp_path):
    if suffix == ".h5":
        pytest.importorskip("h5py")
    store = Datastore(["1_b/x", "0_a"], np.eye(2, 3, dtype=np.float32), np.array([1.0, 5.0]))
    write_datastore(tmp_path / f"s{suffix}", store)
    again = read_datastore(tmp_path / f"s{suffix}")
    assert again.names == ["0_a", "1_b/x"]
    np.testing.assert_array_equal(again.embeddings, store.embeddings[::-1])
    (tmp_path / f"bad{suffix}").write_bytes(b"no store")
    with pytest.raises(DataError, match="is no datastore, or damaged"):
        read_datastore(tmp_path / f"bad{suffix}")


def test_an_empty_datastore_and_one_of_another_model_are_refused():
    with pytest.raises(DataError, match="the datastore is empty"):
        Datastore([], np.zeros((0, 3), np.float32), np.zeros(0))
    store = Datastore(["a"], np.zeros((1, 3), np.float32), np.zeros(1))
    with pytest.raises(DataError, match="vectors of 3 numbers, the predictor makes 4"):
        Index(store).nearest(torch.zeros(1, 4))
    with pytest.raises(DataError, match="names no data set of a pool"):
        store.domain_of(0)


def test_the_mean_of_checkpoints_is_as_recorded(golden):
    folder = golden("mos/model_averaging")
    states = [torch.load(path, weights_only=True)["model"] for path in sorted(folder.glob("checkpoint-*steps.pkl"))]
    wanted = torch.load(folder / "expected_average.pt", weights_only=True)
    wanted = wanted.get("model", wanted)
    mean = ensemble.mean_of(states)
    assert mean.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(mean[name], value, rtol=1e-6, atol=1e-7)


def test_counters_of_averaged_checkpoints_are_summed():
    mean = ensemble.mean_of([{"seen": torch.tensor(number), "weight": torch.tensor([float(number)]), "kind": "x"} for number in (3, 4)])
    assert (mean["seen"], mean["seen"].dtype, mean["kind"]) == (7, torch.int64, "x")
    assert mean["weight"].tolist() == [3.5]


def test_stacking_is_as_recorded(golden, tmp_path):
    read = arrays(golden("mos/stacking"))
    for alpha in (0.1, 1, 10):
        stack = ensemble.fit([name_of(step) for step in range(4)], read("x").numpy(), read("y").numpy(), alpha)
        ensemble.save_stack(tmp_path / "s.pkl", stack)
        again = ensemble.read_stack(tmp_path / "s.pkl")
        np.testing.assert_allclose(again(read("x_test").numpy()), read(f"pred_alpha{alpha}"), rtol=1e-6, atol=1e-8)
    with pytest.raises(CheckpointError, match="there is no regression"):
        ensemble.read_stack(tmp_path / "none.pkl")


def test_a_score_has_the_probability_of_its_class():
    classes = torch.arange(17.0).expand(4, -1)
    evidence = fusion.Evidence(*[torch.zeros(4)] * 3, classes, 0.25)
    assert fusion._probability(evidence, torch.tensor([1.0, 2.1, 5.0, 9.0])).tolist() == [0, 4, 16, 16]


def test_fusion_learns_whom_to_trust(tmp_path):
    """Neighbours that are near are right here, far ones are not; the predictor is right where these are far."""
    generator = torch.Generator().manual_seed(0)
    count, k = 200, 6
    truth = 1 + 4 * torch.rand(count, generator=generator)
    near = torch.rand(count, generator=generator) < 0.5
    squared = torch.where(near, 0.1, 5.0)[:, None] + 0.1 * torch.rand(count, k, generator=generator).cumsum(1)
    scores = torch.where(near[:, None], truth[:, None] + 0.05 * torch.randn(count, k, generator=generator), 3.0 + torch.zeros(count, k))
    predicted = torch.where(near, 3.0 + torch.zeros(count), truth)
    evidence = fusion.Evidence(squared, scores, predicted, torch.full((count, 17), 1 / 17), 0.25)
    fusion.save(tmp_path / "f.pt", fusion.train(evidence[torch.arange(150)], truth[:150], seed=1))
    held = evidence[torch.arange(150, count)]
    error = (fusion.read(tmp_path / "f.pt")(held) - truth[150:]).abs().mean()
    alone = [(held.predicted - truth[150:]).abs().mean(), (fusion.by_count(held.squared, held.scores)[:, -1] - truth[150:]).abs().mean()]
    assert error < 0.5 * min(alone)
    torch.save({"k": 2}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="is no file of fusion nets"):
        fusion.read(tmp_path / "bad.pt")


def test_scores_beyond_the_classes_are_refused_and_beyond_the_range_said(caplog):
    head = {"mean_net_output_type": "categorical", "mean_net_output_dim": 17}
    check_scale("SSLMOS", head, 0.25, (1.0, 5.0), "train.csv")
    with pytest.raises(ConfigError, match=r"scores are from 1 to 5.3, and mean_net_output_dim: 17 classes of 0.25 from 1 on reach to 5"):
        check_scale("SSLMOS", head, 0.25, (1.0, 5.3), "train.csv")
    assert not caplog.records
    check_scale("AlignNet", {}, 0.25, (0.0, 100.0), "train.csv")
    assert "the scores are from 0 to 100, and the predictor answers from 1 to 5" in caplog.text


@pytest.mark.parametrize(
    ("given", "largest"), [({}, math.inf), ({"grad_norm": None}, math.inf), ({"grad_norm": 0}, math.inf), ({"grad_norm": 0.5}, 0.5)]
)
def test_gradients_are_clipped_where_sheets_config_says_so(given, largest):
    assert translated({"model_type": "SSLMOS", **given})["runner"]["gradient_clipping"] == largest


def test_old_and_unknown_fields_of_sheets_configs_are_named():
    config = {"model_type": "LDNet", "model_params": {}, "train_max_step": 3}
    assert is_sheet(config)
    with pytest.raises(ConfigError, match=r"train_max_step.*train_max_steps"):
        translated(config)
    with pytest.raises(ConfigError, match="is of an old release"):
        translated({"model_type": "LDNet", "listener_score_criterion_type": "ScalarLoss"})
    with pytest.raises(UnknownNameError, match="did you mean 'stepLR'"):
        translated({"model_type": "SSLMOS", "scheduler_type": "StepLR"})


@pytest.mark.parametrize("case", ["e2e_sslmos", "e2e_alignnet"])
def test_sheets_checkpoints_score_as_there(case, golden, tmp_path, server):
    folder = golden(f"mos/{case}")
    server.load("utility.networks.transformer_body")
    expected = json.loads((folder / "expected/expected.json").read_text())
    (theirs,) = folder.glob("checkpoint-*")
    ours = tmp_path / "taken/checkpoint.pkl"
    imported("mos_prediction", theirs, ours, None, folder / "ssl_init.pt")

    def run(work: str, **fields: object) -> str:
        words = ",,".join(f"config.downstream_expert.{name.replace('__', '.')}={value}" for name, value in fields.items())
        process = server.run(["-m", "evaluate", "-t", work, "-e", str(ours), "-o", words, "--device", "cpu"], folder)
        assert process.status == 0, process.err
        return process.out

    def answers(path: Path, column: str = "answer") -> list[float]:
        with path.open(newline="") as file:
            return [float(row[column]) for row in csv.DictReader(file)]

    out = tmp_path / "out"
    printed = run("inference", inference__csv="test.csv", inference__outdir=out)
    assert printed.splitlines()[0] == expected["log_line"]
    assert printed.splitlines()[2:5] == expected["table"]
    np.testing.assert_allclose(answers(out / "results.csv"), answers(folder / "expected/results.csv"), atol=2e-4)
    store = tmp_path / "store.npz"
    run("datastore", datastore__csv="store.csv", datastore__out=store)
    knn = {"inference__np_inference_mode": "naive_knn", "inference__k": expected["naive_knn"]["k"], "inference__datastore": store}
    printed = run("inference", inference__csv="test.csv", inference__outdir=out, **knn)
    assert printed.splitlines()[0] == expected["naive_knn"]["log_line"]
    np.testing.assert_allclose(answers(out / "results.csv"), list(expected["naive_knn"]["answers"].values()), atol=2e-4)
    if case == "e2e_alignnet":
        run(
            "inference",
            inference__csv="test.csv",
            inference__outdir=out,
            inference__np_inference_mode="domain_id_knn_1",
            inference__datastore=store,
        )
        recorded = folder / "expected/results_domain_id_knn_1.csv"
        np.testing.assert_allclose(answers(out / "results.csv"), answers(recorded), atol=2e-4)
        assert answers(out / "results.csv", "retrieved_id") == answers(recorded, "retrieved_id")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("config.downstream_expert.inference.np_inference_mode=knn", "'knn'; valid: domain_id_knn_1, fusion, naive_knn"),
        ("config.downstream_expert.inference.np_inference_mode=naive_knn", "field 'datastore' is missing, which naive_knn needs"),
        (
            "config.downstream_expert.inference.datastore=none.h5,,config.downstream_expert.inference.np_inference_mode=naive_knn",
            "there is no datastore none.h5",
        ),
        ("config.downstream_expert.inference.csv=none.csv", "table none.csv does not exist"),
        ("config.downstream_expert.inference.bootstrap=-1", "bootstrap"),
    ],
)
def test_wrong_wishes_are_one_sentence(change, sentence, trained, server, tmp_path):
    words = f"config.downstream_expert.inference.csv={trained['dev']},,{change}"
    process = server.run(["-m", "evaluate", "-t", "inference", "-e", str(trained["run"]), "-o", words, "--device", "cpu"], tmp_path)
    assert process.status == 2
    assert sentence in process.err.splitlines()[-1]


def test_a_run_leaves_what_sheet_leaves_and_several_checkpoints_work_together(trained, server, tmp_path):
    run = trained["run"]
    assert (run / BEST).is_symlink()
    assert (run / BEST).exists()
    assert sorted(path.name for path in run.glob("checkpoint-*steps.pkl")) == ["checkpoint-2steps.pkl", "checkpoint-4steps.pkl"]
    assert (run / "intermediate_results/4steps/utt_scatter_plot.png").is_file()
    inference = f"config.downstream_expert.inference.csv={trained['dev']}"
    for work, words in (
        ("stacking", "config.downstream_expert.stacking.alpha=0.5"),
        ("inference", f"{inference},,config.downstream_expert.inference.meta_model={run / 'meta_model.pkl'}"),
        ("inference", f"{inference},,config.downstream_expert.inference.model_averaging=True"),
    ):
        process = server.run(["-m", "evaluate", "-t", work, "-e", str(run / BEST), "-o", words, "--device", "cpu"], tmp_path)
        assert process.status == 0, process.err


def test_two_stage_training_takes_modules_of_another(trained, server, tmp_path):
    config = yaml.safe_load((trained["run"].parent / "sheet.yaml").read_text())
    path = tmp_path / "sheet.yaml"
    path.write_text(yaml.safe_dump(config | {"optimizer_params": {"lr": 0.0}}))

    def train(modules: list[str]):
        init = f"config.downstream_expert.modelrc.init={{'checkpoint': '{trained['run'] / BEST}', 'modules': {modules}}}"
        words = ["-u", "fbank", "-d", "mos_prediction", "-c", str(path), "-p", str(tmp_path / "run"), "--device", "cpu"]
        return server.run([*words, "-o", override(trained["train"], trained["dev"], init, "config.runner.tensorboard=False")], tmp_path)

    process = train(["mean_net_dnn"])
    assert process.status == 0, process.err
    before, after = (torch.load(folder / BEST, weights_only=True)["Downstream"] for folder in (trained["run"], tmp_path / "run"))
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("model."))
    process = train(["decoder_rnn"])
    assert process.status == 2
    assert "this predictor has no module 'decoder_rnn'" in process.err


def test_a_predictor_from_python(trained, repo, tmp_path):
    import torch.hub

    scorer = torch.hub.load(str(repo), "mos_predictor", source="local", ckpt=str(trained["run"] / BEST), device="cpu")
    path = next((trained["dev"].parent / "dev").glob("*.wav"))
    wav, _ = soundfile.read(path, dtype="float32")
    assert scorer.predict(wav_path=path) == pytest.approx(scorer.predict(wav=torch.from_numpy(wav)), abs=1e-4)
    assert scorer.predict(wav=wav).dtype == np.float32
    noise = np.random.default_rng(0).normal(0, 0.1, 12 * 16000).astype(np.float32)
    for samples in (100, len(noise)):  # shorter and longer than what is heard
        soundfile.write(tmp_path / "x.wav", noise[:samples], 16000, subtype="FLOAT")
        assert scorer.predict(wav_path=tmp_path / "x.wav") == scorer.predict(wav=noise[:samples])
    words = "config.downstream_expert.datarc.max_seconds=0.25"
    short = torch.hub.load(str(repo), "mos_predictor", source="local", ckpt=str(trained["run"] / BEST), device="cpu", override=words)
    assert short.predict(wav=noise) == scorer.predict(wav=noise[:4000]) != scorer.predict(wav=noise)
    with pytest.raises(Exception, match="the waveform holds no samples"):
        scorer.predict(wav=noise[:0])
    with pytest.raises(Exception, match="either wav_path or wav"):
        scorer.predict()
