"""The guide's printed commands inside a recipe (COMMANDS.md, 000), on the synthetic data sets; downloads have their own tests."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import soundfile
import yaml

from downstream.mos_prediction.preparation.recipe import read_recipe
from downstream.mos_prediction.preparation.rows import Wishes
from downstream.mos_prediction.recipes import benchmarks, training
from downstream.mos_prediction.recipes.data import prepare
from downstream.mos_prediction.table import read_table
from tests.downstream.mos_prediction.archives import EGS, script
from tests.support.corpora import synthetic

SETS = ("bvcc", "nisqa", "pstn", "singmos", "somos", "tencent", "tmhint-qi", "urgent2024-mos")
SEVEN = "bvcc+nisqa+pstn+singmos+somos+tencent+tmhint-qi"
EIGHT = "bvcc+somos+singmos+nisqa+tmhint-qi+tencent+pstn+urgent2024-mos"
POOLS = {
    SEVEN: SETS[:-1],
    EIGHT: ("bvcc", "somos", "singmos", "nisqa", "tmhint-qi", "tencent", "pstn", "urgent2024-mos"),
}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic sets of size tiny."""
    folder = tmp_path_factory.mktemp("mos")
    synthetic("mos_pools", folder)
    return synthetic("mos", folder)


@pytest.fixture(scope="module")
def recipes(corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes after their stage 0, as their scripts call it, in a folder of their own."""
    folder = tmp_path_factory.mktemp("recipes")
    for name in (*SETS, *POOLS):
        (folder / name).mkdir()
        (folder / name / "recipe.yaml").write_bytes((EGS / name / "recipe.yaml").read_bytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder / name)
            assert training.main(["--stage", "0", "--stop_stage", "0", "--db_root", str(corpora / name)]) == 0
    return folder


def samples(path: Path) -> set[str]:
    return {rating.sample for rating in read_table(path)}


def test_recipes_read_the_synthetic_archives(recipes, corpora):
    for name in SETS:
        (train,), (dev,) = (getattr(read_recipe(EGS / name), role) for role in ("train", "dev"))
        learnt, chosen = (samples(recipes / name / f"data/{part}.csv") for part in (train, dev))
        assert chosen
        assert len(learnt) > len(chosen)
        assert not learnt & chosen
    nisqa = recipes / "nisqa/data"
    assert samples(nisqa / "nisqa_train.csv") == samples(nisqa / "train_sim.csv") | samples(nisqa / "train_live.csv")
    assert (nisqa / "nisqa_dev_with_domain_idx_1.csv").is_file()
    assert len(list(corpora.rglob("audios_16000/*.wav"))) == len(list(corpora.rglob("audios/*.wav")))
    rates = {soundfile.info(rating.wav_path).samplerate for path in recipes.glob("*/data/*.csv") for rating in read_table(path)}
    assert rates == {16000}


@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_is_all_rows_of_its_sets_by_their_numbers(pool, recipes):
    for role in ("train", "dev"):
        rows = read_table(recipes / pool / f"data/{role}.csv")
        assert [rating.domain for rating in rows] == sorted(rating.domain for rating in rows)
        for number, name in enumerate(POOLS[pool]):
            (part,) = getattr(read_recipe(EGS / name), role)
            own = read_table(recipes / name / f"data/{part}.csv")
            found = [(rating.sample, rating.system, rating.score, rating.wav_path) for rating in rows if rating.domain == number]
            assert found == [(f"{number}_{rating.sample}", f"{number}_{rating.system}", rating.score, rating.wav_path) for rating in own]


def test_a_test_set_of_its_own(corpora, tmp_path):
    (path,) = prepare(read_recipe(EGS / "bc19"), corpora / "bc19", tmp_path, Wishes(sample_rate=16000))
    assert len(samples(path)) == 6


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


def conf(folder: Path, recipe: str = "bvcc", name: str = "ssl-mos-wav2vec2", **params: int) -> Path:
    """A recipe's config on filter banks, for a few steps."""
    config = yaml.safe_load((EGS / recipe / f"conf/{name}.yaml").read_text())
    config["model_params"] |= {"s3prl_name": "fbank", "ssl_model_output_dim": 240, **(params or {"mean_net_dnn_dim": 8})}
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
    for name in ("FOR", "LIVETALK", "P501", "somos_test", "singmos_test", "tmhintqi_test"):
        (data / f"{name}.csv").unlink()
    printed = run("./utils/BENCHMARKS/run_all_bencmarks.sh", *own, "--checkpoint", expdir / "checkpoint-best.pkl")
    assert "headline: mean SRCC of" in printed
    with (expdir / "results/checkpoint-best/bc19_test/results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len({rating.sample for rating in read_table(data / "bc19_test.csv")})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pool", "name", "params"),
    [
        (SEVEN, "alignnet-wav2vec2", {"domain_emb_dim": 4, "decoder_rnn_dim": 4, "decoder_dnn_dim": 4}),
        (EIGHT, "ssl-mos-wavlm_large", {"mean_net_dnn_dim": 4}),
    ],
    ids=["seven", "eight"],
)
def test_a_pool_is_trained_and_tested(pool, name, params, recipes, corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(recipes / pool)
    own = ["--conf", str(conf(tmp_path, pool, name, **params)), "--tag", "mine", "--device", "cpu", "--exp_root", str(tmp_path / "exp")]
    assert training.main(["--stage", "2", "--stop_stage", "3", *own]) == 0
    places = ["--db_root", str(corpora / "singmos"), "--datadir", str(tmp_path)]
    mode = "domain_id_knn_1" if name.startswith("alignnet") else "naive_knn"
    assert benchmarks.main(["run_singmos_test", "--stage", "0", "--stop_stage", "3", *places, *own, "--np_inference_mode", mode]) == 0
    results = tmp_path / "exp/mine-1337/results"
    for folder in (results / "checkpoint-best/singmos_test", results / f"np_checkpoint-best/{mode}/singmos_test"):
        with (folder / "results.csv").open(newline="") as file:
            assert {row["sample_id"] for row in csv.DictReader(file)} == samples(tmp_path / "singmos_test.csv")
