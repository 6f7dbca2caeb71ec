"""run.sh and the benchmark scripts: options, places, and the calls that they make."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from downstream.mos_prediction.preparation.recipe import read_recipe
from downstream.mos_prediction.recipes import benchmarks, commands, training
from downstream.mos_prediction.recipes.options import parse, stages, true
from tests.downstream.mos_prediction.archives import EGS, script
from utility.errors import UnknownNameError, UsageError
from utility.experiment.override import parse_override

DEFAULTS = {"stage": "-1", "stop_stage": "100", "checkpoint": "", "conf": "conf/a.yaml", "use_stacking": "False"}


def test_options():
    given = parse(["--stage", "-1", "--stop-stage", "3", "--checkpoint", "--conf", ""], DEFAULTS)
    assert given == {**DEFAULTS, "stop_stage": "3"}
    assert list(stages(given)) == [-1, 0, 1, 2, 3]
    assert not true(given, "use_stacking")
    with pytest.raises(UnknownNameError, match="unknown option '--chekpoint'; did you mean '--checkpoint'"):
        parse(["--chekpoint", "x"], DEFAULTS)
    for words in (["--stage=1"], ["1"]):
        with pytest.raises(UsageError, match="write --name VALUE"):
            parse(words, DEFAULTS)
    with pytest.raises(UsageError, match="--stage must be a whole number, not 'one'"):
        stages({**DEFAULTS, "stage": "one"})
    with pytest.raises(UsageError, match="--use_stacking must be True or False"):
        true({"use_stacking": "maybe"}, "use_stacking")


@pytest.fixture
def calls(monkeypatch, tmp_path) -> list[list[str]]:
    """The calls of run_downstream.py, which are not made; the working directory is bvcc's recipe."""
    made: list[list[str]] = []
    monkeypatch.setattr(commands, "call", lambda arguments, options: made.append([str(word) for word in arguments]))
    monkeypatch.chdir(EGS / "bvcc")
    for name in ("bvcc_train", "bvcc_dev", "bvcc_test", "FOR", "LIVETALK", "P501", "singmos_test"):
        (tmp_path / f"{name}.csv").touch()
    return made


def fields(call: list[str]) -> dict[str, object]:
    options = parse_override(call[call.index("-o") + 1])
    return {option.key.removeprefix("config.downstream_expert."): option.value for option in options}


def places(tmp_path: Path) -> list[str]:
    return ["--datadir", str(tmp_path), "--exp_root", str(tmp_path / "exp")]


def checkpoint(folder: Path, name: str = "checkpoint-best.pkl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return folder / name


def test_training(calls, tmp_path):
    assert training.main(["--stage", "2", "--stop_stage", "2", "--tag", "mine", "--seed", "7", *places(tmp_path)]) == 0
    (call,) = calls
    assert call[:8] == ["-m", "train", "-d", "mos_prediction", "-u", "wav2vec2", "-l", "-1"]
    assert "-f" in call
    assert call[call.index("-p") + 1] == str(tmp_path / "exp/mine-7")
    assert call[call.index("--seed") + 1] == "7"
    assert fields(call) == {"datarc.train_csv": [str(tmp_path / "bvcc_train.csv")], "datarc.dev_csv": [str(tmp_path / "bvcc_dev.csv")]}


def test_training_of_spectrograms_and_resumption(calls, tmp_path):
    assert training.main(["--stage", "2", "--stop_stage", "2", "--conf", "conf/ldnet-ml", *places(tmp_path)]) == 0
    assert calls[0][4:7] == ["-u", "stft_mag", "-g"]
    assert Path(calls[0][7]).is_file()
    assert calls[0][calls[0].index("-p") + 1] == str(tmp_path / "exp/ldnet-ml-1337")
    training.main(["--stage", "2", "--stop_stage", "2", "--resume", "exp/a/checkpoint-9steps.pkl", *places(tmp_path)])
    assert calls[1] == ["-m", "train", "-e", "exp/a/checkpoint-9steps.pkl"]


def test_two_stage_training(calls, tmp_path, monkeypatch, capsys):
    pool = "bvcc+nisqa+pstn+singmos+somos+tencent+tmhint-qi"
    monkeypatch.chdir(EGS / pool)
    for role in ("train", "dev"):
        (tmp_path / f"{role}.csv").touch()
    words = ["--stage", "2", "--stop_stage", "2", "--pretrained_model_checkpoint", "../nisqa/exp/a/checkpoint-best.pkl", *places(tmp_path)]
    assert training.main([*words, "--conf", "conf/ssl-mos-wav2vec2-mdf.yaml"]) == 0
    init = {"checkpoint": "../nisqa/exp/a/checkpoint-best.pkl", "modules": ["ssl_model", "mean_net_dnn"]}
    assert fields(calls[0])["modelrc.init"] == init
    assert training.main(words) == 2
    assert "has no init-mods" in capsys.readouterr().err


def test_datastore(calls, tmp_path):
    given = checkpoint(tmp_path / "exp/ssl-mos-wav2vec2-1337")
    assert training.main(["--stage", "3", "--stop_stage", "3", *places(tmp_path)]) == 0
    assert calls[0][:6] == ["-m", "evaluate", "-e", str(given), "-t", "datastore"]
    store = given.parent / "datastore/checkpoint-best/datastore.h5"
    assert fields(calls[0]) == {"datastore.csv": str(tmp_path / "bvcc_train.csv"), "datastore.out": str(store)}


def test_stacking_and_fusion_are_for_those_who_ask(calls, tmp_path, capsys):
    given = checkpoint(tmp_path / "exp/ssl-mos-wav2vec2-1337")
    assert training.main(["--stage", "4", "--stop_stage", "4", *places(tmp_path)]) == 0
    assert training.main(["--stage", "6", *places(tmp_path)]) == 0
    assert not calls
    assert training.main(["--stage", "4", "--stop_stage", "4", "--use_stacking", "True", *places(tmp_path)]) == 0
    assert fields(calls[0])["stacking.out"] == str(given.parent / "meta_model.pkl")
    assert training.main(["--stage", "6", "--stop_stage", "6", *places(tmp_path)]) == 2
    store = checkpoint(given.parent / "datastore/checkpoint-best", "datastore.h5")
    assert training.main(["--stage", "6", "--stop_stage", "6", *places(tmp_path)]) == 0
    assert fields(calls[1]) == {"datastore.csv": str(tmp_path / "bvcc_train.csv"), "inference.datastore": str(store)}
    assert "datastore.h5; stage 3 makes it" in capsys.readouterr().err


def test_inference_on_a_benchmark(calls, tmp_path):
    given = checkpoint(tmp_path / "elsewhere", "checkpoint-9steps.pkl")
    for recipe, names in (("bvcc", ["bvcc_test"]), ("nisqa", ["nisqa_FOR", "nisqa_LIVETALK", "nisqa_P501"])):
        words = ["--stage", "1", "--stop_stage", "1", "--checkpoint", str(given), *places(tmp_path)]
        assert benchmarks.main([f"run_{recipe}_test", *words]) == 0
        outdirs = [Path(str(fields(call)["inference.outdir"])) for call in calls]
        assert outdirs == [given.parent / "results/checkpoint-9steps" / name for name in names]
        calls.clear()


def test_inference_by_neighbours(calls, tmp_path, capsys):
    given = checkpoint(tmp_path / "exp/ssl-mos-wav2vec2-1337")
    words = ["run_bvcc_test", "--stage", "3", "--stop_stage", "3", "--np_inference_mode", "naive_knn", *places(tmp_path)]
    assert benchmarks.main(words) == 2
    assert "stage 3 of run.sh makes it" in capsys.readouterr().err
    store = given.parent / "datastore/checkpoint-best/datastore.h5"
    store.parent.mkdir(parents=True)
    store.touch()
    assert benchmarks.main(words) == 0
    assert benchmarks.main([*words, "--k", "20", "--temperature", "0.5", "--bootstrap", "100", "--search", "faiss"]) == 0
    assert [fields(calls[1])[f"inference.{name}"] for name in ("k", "temperature", "bootstrap", "search")] == [20, 0.5, 100, "faiss"]
    assert benchmarks.main([*words, "--k", "many"]) == 2
    assert "--k must be a whole number, not 'many'" in capsys.readouterr().err
    found = fields(calls[0])
    assert not {"inference.k", "inference.weighting", "inference.search"} & set(found)
    assert found["inference.outdir"] == str(given.parent / "results/np_checkpoint-best/naive_knn/bvcc_test")
    assert (found["inference.np_inference_mode"], found["inference.datastore"]) == ("naive_knn", str(store))


def test_the_domain_is_that_of_the_pool(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(EGS / "bvcc+nisqa+pstn+singmos+somos+tencent+tmhint-qi")
    given = checkpoint(tmp_path / "exp/a")
    words = ["run_singmos_test", "--stage", "1", "--stop_stage", "1", "--checkpoint", str(given), *places(tmp_path)]
    assert benchmarks.main(words) == 0
    assert benchmarks.main([*words, "--domain_idx", "5"]) == 0
    assert [fields(call)["inference.domain_idx"] for call in calls] == [3, 5]
    monkeypatch.chdir(EGS / "bvcc")
    benchmarks.main(words)
    assert "inference.domain_idx" not in fields(calls[2])


def test_all_sets_are_scored_though_one_cannot_be(calls, tmp_path, monkeypatch, capsys):
    given = checkpoint(tmp_path / "exp/a")
    for name in ("bvcc_test", "singmos_test"):
        results = given.parent / "results/checkpoint-best" / name
        results.mkdir(parents=True)
        (results / "results.csv").write_text("system_id,avg_score,answer\ns,1,2\nt,2,3\n")

    def call(arguments, options):
        calls.append(list(map(str, arguments)))
        if len(calls) == 1:
            raise commands.StageError("run_downstream.py ended with status 2")

    monkeypatch.setattr(commands, "call", call)
    for path in tmp_path.glob("*.csv"):
        if path.stem not in ("bvcc_test", "singmos_test"):
            path.unlink()
    assert benchmarks.main(["run_all_bencmarks", "--checkpoint", str(given), *places(tmp_path)]) == 2
    assert len(calls) == 2
    captured = capsys.readouterr()
    assert "headline: mean SRCC of 2 sets" in captured.out
    assert "1 of 2 test sets have no scores, as said above: bvcc" in captured.err


@pytest.mark.parametrize(("gpus", "sentence"), [("two", "must be a whole number, not 'two'"), ("0", "must be 1 or more, not 0")])
def test_a_wrong_number_of_processes_is_one_sentence(gpus, sentence):
    with pytest.raises(UsageError, match=sentence):
        commands.call(["-m", "train"], {"n_gpus": gpus})


def test_training_alone_has_several_processes(monkeypatch):
    lines = []
    monkeypatch.setattr(commands, "status_of", lambda line, environment: lines.append(line) or 0)
    commands.call(["-m", "train"], {"n_gpus": "2", "device": "cpu"})
    commands.call(["-m", "evaluate", "-e", "train"], {"n_gpus": "2", "device": ""})
    assert lines[0][1:5] == ["-m", "torch.distributed.run", "--nproc_per_node", "2"]
    assert lines[0][-2:] == ["--device", "cpu"]
    assert lines[1][1] == str(commands.ENTRY)


SLOW_TO_STOP = """
import signal, sys, time
def save(number, frame):
    time.sleep(1)
    print("saved", flush=True)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
print("ready", flush=True)
time.sleep(60)
"""
CALLER = """
import os, sys
from downstream.mos_prediction.recipes import commands
commands.ENTRY = sys.argv[1]
commands.call(["-m", "train"], {})
"""


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_called_program_has_time_to_save(number, whole_group, tmp_path, repo):
    (tmp_path / "slow.py").write_text(SLOW_TO_STOP)
    line = [sys.executable, "-c", CALLER, str(tmp_path / "slow.py")]
    with subprocess.Popen(line, cwd=repo, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        (os.killpg if whole_group else os.kill)(process.pid, number)
        assert process.stdout.read() == "saved\n"
        assert process.wait() == 128 + number


def test_sets_of_the_second_benchmark_are_all_known():
    results = [rated.result for name in benchmarks.ALL for rated in read_recipe(EGS / name).sets.values() if rated.result]
    assert len(results) == 17


MISTAKES = {
    "no checkpoint": (["run_bvcc_test", "--stage", "1", "--stop_stage", "1"], "there is no checkpoint .*; stage 2 of run.sh"),
    "no such config": (
        ["run_bvcc_test", "--stage", "1", "--stop_stage", "1", "--conf", "conf/x"],
        "conf/x; conf has .*ldnet-ml",
    ),
    "no such set": (["run_bvvc_test", "--stage", "0"], "unknown data set 'bvvc'; did you mean 'bvcc'"),
    "no mode": (["run_bvcc_test", "--stage", "3", "--stop_stage", "3"], "stage 3 needs --np_inference_mode"),
    "every domain": (["run_bvcc_test", "--stage", "2", "--stop_stage", "2"], "^stage 2, inference with every domain index .*, is not here"),
    "SpeechLMScore": (["run_somos_test", "--stage", "4"], "^stage 4, SpeechLMScore, is not here: it needs a published"),
    "SpeechLMScore alone": (["run_nisqa_test", "--stage", "4", "--stop_stage", "4"], "^stage 4, SpeechLMScore, is not here"),
    "no such mode": (["run_all_bencmarks", "--np_inference_mode", "knn"], "unknown --np_inference_mode 'knn'; valid: .*naive_knn"),
    "no such option": (["get_all_bencmarks", "--db", "x"], "unknown option '--db'"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_sentence(words, message, calls, tmp_path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarks, "DEFAULTS", {**benchmarks.DEFAULTS, "exp_root": str(tmp_path / "exp")})
        assert benchmarks.main(words) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.err.count("\n") == 1
    assert not calls


def test_scripts_run_inside_a_recipe_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert training.main(["--stage", "0"]) == 2
    assert "is no recipe: run this inside a folder of egs" in capsys.readouterr().err


def test_the_scripts_themselves():
    done = script("bvcc", "./run.sh", "--stage", "3", "--stop_stage", "3", "--exp_root", "/nowhere", "--datadir", "/nowhere")
    assert done.returncode == 2
    assert "there is no checkpoint /nowhere/ssl-mos-wav2vec2-1337/checkpoint-best.pkl" in done.stderr
    done = script("somos", "./utils/BENCHMARKS/get_all_bencmarks.sh", "--help")
    assert done.returncode == 0
    assert "--np_inference_mode" in done.stdout
