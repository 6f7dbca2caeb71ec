"""The printed commands of the guide, word for word, on spelled tones at the paths of config.yaml, with fewer steps appended."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from preprocess.generate_len_for_bucket import main as measure
from run_downstream import main
from tests.downstream.asr.spelling import lay_out

FEWER = (
    "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.downstream_expert.modelrc.project_dim=8,,config.downstream_expert.modelrc.RNNs={'dim': [6], 'total_rate': 320},,"
    "config.downstream_expert.datarc.batch_size=3,,config.downstream_expert.datarc.num_workers=0,,config.runner.tensorboard=False"
)
EXPDIR = Path("result/downstream/ExpName")


def test_printed_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path / "data", {"train-clean-100": 6, "dev-clean": 2, "test-clean": 2})
    assert measure(shlex.split("-i data/LibriSpeech -o data/librispeech -a .flac --n_jobs 12")) == 0
    assert main([*shlex.split("-m train -u fbank -d asr -n ExpName"), "-o", FEWER, "--device", "cpu"]) == 0
    assert {path.name for path in EXPDIR.glob("*.ckpt")} >= {"states-2.ckpt", "dev-best.ckpt", "dev-clean-best.ckpt"}
    assert (EXPDIR / "dev-clean-noLM-hyp.ark").exists()
    checkpoint = EXPDIR / "dev-best.ckpt"
    capsys.readouterr()
    assert main([*shlex.split(f'-m evaluate -t "test-clean" -e {checkpoint}'), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "test-clean uer: " in said
    assert "test-clean wer: " in said
    assert (EXPDIR / f"results/{checkpoint.stem}/test-clean-noLM-ref.ark").read_text().count("\n") == 2
    init = f"-m train -u fbank -d asr -n Second -i {checkpoint}"
    assert main([*shlex.split(init), "-o", f"{FEWER},,config.optimizer.lr=0.0", "--device", "cpu"]) == 0
    assert (EXPDIR.parent / "Second/dev-best.ckpt").exists(), "equal weights have the equal WER, and it is the first one"
