"""The commands that S3PRL's guides print for any task, word for word, with fewer steps appended."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from run_downstream import main
from utility.experiment.checkpoint import load

FEWER = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.downstream_expert.datarc.sizes={'train':4,'dev':2,'test':2},,config.downstream_expert.datarc.num_workers=0"
)
EXPDIR = Path("result/downstream/ExpName")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a printed command (without ``python3 run_downstream.py``) in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(line: str, override: str | None = FEWER) -> int:
        return main([*shlex.split(line), *(["-o", override] if override else []), "--device", "cpu"])

    return command


def test_start_resume_and_evaluate(run, capsys):
    assert run("-m train -n ExpName -u fbank -d example") == 0
    assert {p.name for p in EXPDIR.glob("*.ckpt")} >= {"states-4.ckpt"}
    assert list(EXPDIR.glob("events.out.tfevents.*"))
    assert list(EXPDIR.glob("args_*.yaml"))
    assert list(EXPDIR.glob("config_*.yaml"))
    for past, steps in ((EXPDIR, 6), (EXPDIR / "states-6.ckpt", 8)):
        assert run(f"-m train -e {past}", f"config.runner.total_steps={steps}") == 0
        assert load(EXPDIR / f"states-{steps}.ckpt")["Step"] == steps
    capsys.readouterr()
    for past in (EXPDIR, next(EXPDIR.glob("states-*.ckpt"))):
        assert run(f'-m evaluate -t "dev" -e {past}', None) == 0
        assert capsys.readouterr().out.startswith("[Runner] - dev: acc")
    assert run(f"-m evaluate -e {EXPDIR}", None) == 0
    assert json.loads((EXPDIR / "results" / "states-8" / "test.json").read_text())["split"] == "test"


def test_without_mode(run):
    assert run("-u fbank -d example -n HelloWorld") == 0
    assert Path("result/downstream/HelloWorld/states-4.ckpt").is_file()


def test_the_printed_override(run):
    printed = r'"config.optimizer.lr=1.0e-3,,config.optimizer.name=\"AdamW\",,config.runner.eval_dataloaders=\"[\'dev\', \'test\']\""'
    (override,) = shlex.split(printed.replace("\\'", "'"))
    assert override.endswith("""="['dev', 'test']\"""")
    assert run("-m train -n ExpName -u fbank -d example", f"{FEWER},,{override}") == 0
    config = load(EXPDIR / "states-4.ckpt")["Config"]
    assert (config["optimizer"]["lr"], config["optimizer"]["name"]) == (1e-3, "AdamW")
    assert config["runner"]["eval_dataloaders"] == ["dev", "test"]


def test_auto_resume_in_a_loop(run, capsys):
    for _ in range(3):
        assert run("-m train -n ExpName -u fbank -d example -a") == 0
    assert capsys.readouterr().out.count("complete already") == 2
    assert not list(EXPDIR.glob("previous-*"))


def test_other_settings_for_the_test(run, repo):
    assert run("-m train -n ExpName -u fbank -d example") == 0
    config = repo / "downstream" / "example" / "config.yaml"
    for init in (EXPDIR, EXPDIR / "states-4.ckpt"):
        assert run(f'-m evaluate -t "test" -i {init} -u fbank -d example -c {config} -n TestExpName') == 0
    result = json.loads(Path("result/downstream/TestExpName/results/states-4/test.json").read_text())
    assert (result["checkpoint"], result["items"]) == ("states-4.ckpt", 2)


@pytest.mark.parametrize("upstream", ["example", "baseline"])
def test_the_early_guide(run, repo, upstream):
    fewest = "config.runner.total_steps=1,,config.downstream_expert.datarc.train_batch_size=1,,"
    fewest += "config.downstream_expert.datarc.num_workers=0,,"
    fewest += "config.downstream_expert.datarc.sizes={'train':2,'dev':1,'test':1}"  # the example upstream has 16,000 frames a second
    assert run(f"-m train -n HelloWorld -u {upstream} -d example -c {repo}/downstream/example/config.yaml", fewest) == 0
    assert run("-m train -e result/downstream/HelloWorld", "config.runner.total_steps=2") == 0
    assert run("-m evaluate -e result/downstream/HelloWorld", None) == 0


def test_a_copied_task_folder_works_at_once(tmp_path, repo):
    for part in ("downstream", "upstream", "utility", "run_downstream.py"):
        copy = shutil.copytree if (repo / part).is_dir() else shutil.copy
        copy(repo / part, tmp_path / part)
    shutil.copytree(tmp_path / "downstream" / "example", tmp_path / "downstream" / "phone")
    base = [sys.executable, "run_downstream.py"]
    train = [*base, "-m", "train", "-n", "PhoneFbank", "-u", "baseline", "-d", "phone", "-c", "downstream/phone/config.yaml", "-o", FEWER]
    assert "phone" in subprocess.run([*base, "-h"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    subprocess.run(train, cwd=tmp_path, check=True, capture_output=True)
    without_stderr = ["bash", "-c", 'exec "$0" "$@" 2>&-', *base, "-m", "evaluate", "-e", "result/downstream/PhoneFbank"]  # as a daemon's
    done = subprocess.run(without_stderr, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith("[Runner] - test: acc")
    assert "phone/dev-acc" in (tmp_path / "result/downstream/PhoneFbank/metrics.jsonl").read_text()
