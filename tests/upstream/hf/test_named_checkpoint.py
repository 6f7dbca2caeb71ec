"""``-u NAME:CKPT`` from the command line: trained, evaluated from its checkpoint, refused where it makes no sense."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import yaml

from run_downstream import main
from upstream import registry
from upstream.registry import available, build, entries, find
from utility.errors import UnknownNameError, UsageError

RUNNER = {"total_steps": 2, "gradient_clipping": 1, "log_step": 1, "eval_step": 2, "save_step": 2, "eval_dataloaders": ["dev"]}


def test_the_rule():
    entry = find("hf:org/name@v1")
    assert entry.name == entry.record.name == "hf:org/name@v1" and entry.kwargs["ckpt"] == "org/name@v1"
    assert entry.needs == () and entry.folder == find("hf").folder
    assert find("wav2vec2_local:/a/b:c.pt").kwargs["ckpt"] == "/a/b:c.pt"
    assert "hf:org/name" in entries(registry.ROOT) and "fbank:x" not in entries(registry.ROOT)
    assert "hf:" not in entries(registry.ROOT) and "nothing:x" not in entries(registry.ROOT) and None not in entries(registry.ROOT)
    assert not [name for name in available() if ":" in name] and len(entries(registry.ROOT)) == len(list(entries(registry.ROOT)))


def test_finding_imports_no_torch(repo):
    code = "import sys, upstream.registry as r; r.find('hf:a/b'); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("hf:", UsageError, "nothing stands behind the colon"),
        ("fbank:x.pt", UsageError, "'fbank' needs no checkpoint"),
        ("hff:org/name", UnknownNameError, "unknown upstream 'hff'; did you mean 'hf'"),
        ("./a:b", UsageError, "there is no upstream folder './a:b'"),
    ],
)
def test_what_it_refuses(name, kind, sentence):
    with pytest.raises(kind, match=sentence):
        find(name)


def test_a_folder_with_a_colon_is_still_a_folder(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "expert.py").write_text("")
    assert find(folder).outside


def test_two_checkpoints_are_one_too_many():
    with pytest.raises(UsageError, match=r"'hf:a/b' names its checkpoint, so -k c/d has no place"):
        build("hf:a/b", ckpt="c/d")


def test_a_checkpoint_that_stores_the_name_is_taken_up(saved, tmp_path, capsys):
    published = yaml.safe_load((registry.ROOT.parent / "downstream/example/config.yaml").read_text(encoding="utf-8"))
    published["downstream_expert"]["datarc"] |= {"num_workers": 0, "sizes": {"train": 8, "dev": 4, "test": 4}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(published | {"runner": {**RUNNER, "tensorboard": False}}))
    name, run = f"hf:{saved('hubert')[0]}", tmp_path / "run"
    flags = ["-d", "example", "-c", str(config), "-p", str(run), "--device", "cpu"]
    assert main(["-m", "train", "-u", name, *flags]) == 0
    stored = torch.load(run / "states-2.ckpt")["Args"]
    assert stored["upstream"] == name and stored["upstream_ckpt"] is None
    assert main(["-m", "evaluate", "-t", "dev", "-e", str(run)]) == 0
    assert main(["-m", "train", "-e", str(run), "-o", "config.runner.total_steps=3"]) == 0
    stored["upstream"] = "nothing:x"  # whatever else a file names is refused as before
    torch.save({**torch.load(run / "states-3.ckpt"), "Args": stored}, tmp_path / "other.ckpt")
    assert main(["-m", "evaluate", "-t", "dev", "-e", str(tmp_path / "other.ckpt")]) == 2
    capsys.readouterr()
    assert main(["-m", "train", "-u", "hf:no/where/at/all", *flags[:-2], "-n", "x"]) == 2
    assert "there is no folder no/where/at/all" in capsys.readouterr().err


def test_relative_paths_hold_from_another_working_directory(saved, tmp_path, monkeypatch, golden):
    """That behind a colon, that of ``-k``, and one of ``-o``; what is no path stays as it is."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/hubert").symlink_to(saved("hubert")[0])
    (tmp_path / "models/apc.pt").symlink_to(golden("upstreams/vq_apc") / "ckpt.pt")
    monkeypatch.chdir(tmp_path)
    override = "config.runner.total_steps=1,,config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0"
    sizes = ",,config.downstream_expert.datarc.sizes={'train':2,'dev':1,'test':1}"
    flags = ["-d", "example", "--device", "cpu", "-o", override + sizes]
    assert main(["-u", "hf:models/hubert", "-n", "named", *flags]) == 0
    assert main(["-u", "apc_local", "-k", "models/apc.pt", "-n", "given", *flags]) == 0
    assert main(["-a", "-u", "hf:models/hubert", "-n", "named", *flags]) == 0
    monkeypatch.chdir(tmp_path / "models")
    for run in ("named", "given"):
        assert main(["-m", "evaluate", "-t", "dev", "-e", str(tmp_path / "result/downstream" / run)]) == 0
    words = ["-e", str(tmp_path / "result/downstream/given"), "-p", str(tmp_path / "moved")]
    assert main([*words, "-o", "args.upstream_ckpt=apc.pt,,config.runner.total_steps=2"]) == 0
    stored = torch.load(tmp_path / "moved/states-2.ckpt")["Args"]
    assert stored["upstream_ckpt"] == str(tmp_path / "models/apc.pt") and stored["upstream"] == "apc_local"
    assert main(["-m", "evaluate", "-t", "dev", "-u", "hf:no/model", "-d", "example", "-p", "x"]) == 2
