"""The guide's printed commands inside a recipe (COMMANDS.md, 000), on the synthetic data sets; downloads have their own tests."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from downstream.mos_prediction.preparation.recipe import read_recipe
from downstream.mos_prediction.preparation.rows import Wishes
from downstream.mos_prediction.recipes import benchmarks
from downstream.mos_prediction.recipes.data import prepare
from downstream.mos_prediction.table import read_table
from tests.downstream.mos_prediction.archives import EGS, script
from tests.support.corpora import synthetic

SETS = ("bvcc", "somos", "nisqa", "tmhint-qi", "bc19")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic sets of size tiny."""
    return synthetic("mos", tmp_path_factory.mktemp("mos"))


def test_recipes_read_the_synthetic_archives(corpora, tmp_path):
    written = {}
    for name in SETS:
        for path in prepare(
            read_recipe(EGS / name), corpora / name, tmp_path, Wishes(sample_rate=16000), domain_idx=1 if name == "nisqa" else None
        ):
            written[path.stem] = {rating.sample for rating in read_table(path)}
    assert {"bvcc_train", "somos_dev", "nisqa_train", "nisqa_dev_with_domain_idx_1", "P501", "tmhintqi_train", "bc19_test"} <= set(written)
    assert written["nisqa_train"] == written["train_sim"] | written["train_live"]
    assert not written["tmhintqi_train"] & written["tmhintqi_dev"]
    assert len(list(corpora.rglob("audios_16000/*.wav"))) == len(list(corpora.rglob("audios/*.wav")))


def test_mean_scores_for_other_predictors(corpora, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(EGS / "bvcc")
    words = ["--stage", "0", "--stop_stage", "0", "--db_root", str(corpora), "--datadir", str(tmp_path)]
    assert benchmarks.main(["get_all_bencmarks_installation_free", *words]) == 2
    assert "test sets are not ready: bc23" in capsys.readouterr().err
    assert not (tmp_path / "bvcc_dev.csv").exists()
    with (tmp_path / "somos_test.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["wav_path", "system_id", "sample_id", "avg_score"]
    assert len({row["sample_id"] for row in found}) == len(found) == 6


def conf(folder: Path) -> Path:
    """bvcc's config on filter banks, for a few steps."""
    config = yaml.safe_load((EGS / "bvcc/conf/ssl-mos-wav2vec2.yaml").read_text())
    config["model_params"] |= {"s3prl_name": "fbank", "ssl_model_output_dim": 240, "mean_net_dnn_dim": 8}
    config |= {"train_max_steps": 4, "eval_and_save_interval_steps": 2, "train_batch_size": 4}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_printed_commands(corpora, tmp_path):
    data, exp = tmp_path / "data", tmp_path / "exp"
    places = ("--datadir", data, "--exp_root", exp, "--device", "cpu")
    own = ("--conf", conf(tmp_path).with_suffix(""), "--tag", "mine", "--seed", "2337")

    def run(*words: object, status: int = 0) -> str:
        done = script("bvcc", *words, *places)
        assert done.returncode == status, done.stderr[-3000:]
        return done.stdout

    run("./run.sh", "--stage", 0, "--stop_stage", 0, "--db_root", corpora / "bvcc")
    run("./run.sh", "--stage", 2, "--stop_stage", 2, *own)
    expdir = exp / "mine-2337"
    assert (expdir / "checkpoint-best.pkl").is_symlink()
    assert list((expdir / "intermediate_results").glob("*steps/utt_scatter_plot.png"))
    run("./run.sh", "--stage", 3, "--stop_stage", 3, *own)
    benchmark = "./utils/BENCHMARKS/run_bvcc_test.sh"
    run(benchmark, "--stage", 0, "--stop_stage", 0, "--db_root", corpora / "bvcc")
    assert "[UTT]" in run(benchmark, "--stage", 1, "--stop_stage", 1, *own, "--checkpoint", "")
    run(benchmark, "--stage", 3, "--stop_stage", 3, "--np_inference_mode", "naive_knn", *own, "--checkpoint")
    for results in ("results/checkpoint-best/bvcc_test", "results/np_checkpoint-best/naive_knn/bvcc_test"):
        for name in ("inference.log", "results.csv", "distribution.png", "utt_scatter_plot.png", "sys_scatter_plot.png"):
            assert (expdir / results / name).stat().st_size > 0
    run("./utils/BENCHMARKS/get_all_bencmarks.sh", "--stage", 0, "--stop_stage", 0, "--db_root", corpora, status=2)
    for name in ("FOR", "LIVETALK", "P501", "somos_test", "tmhintqi_test"):
        (data / f"{name}.csv").unlink()
    printed = run("./utils/BENCHMARKS/run_all_bencmarks.sh", *own, "--checkpoint", expdir / "checkpoint-best.pkl")
    assert "headline: mean SRCC of" in printed
    with (expdir / "results/checkpoint-best/bc19_test/results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len({rating.sample for rating in read_table(data / "bc19_test.csv")})
