"""The rules of the house that a machine can check: imports, listings, READMEs, dependencies, what the help costs."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TASKS = sorted(p.parent.name for p in ROOT.glob("downstream/*/expert.py"))
UPSTREAMS = sorted(p.parent.name for p in ROOT.glob("upstream/*/expert.py"))


def test_the_import_contract_is_kept():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_import_contract_knows_every_plugin():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    tasks = config["importlinter:contract:tasks-apart"]["modules"].split()
    upstreams = config["importlinter:contract:upstreams-apart"]["modules"].split()
    assert tasks == [f"downstream.{name}" for name in TASKS]
    assert upstreams == [f"upstream.{name}" for name in UPSTREAMS]
    assert {*tasks, *upstreams} <= set(config["importlinter:contract:runner"]["forbidden_modules"].split())
    assert set(tasks) <= set(config["importlinter:contract:tasks"]["source_modules"].split())


def test_ruff_is_content():
    done = subprocess.run([Path(sys.executable).with_name("ruff"), "check", "--no-cache", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_help_lists_everything_without_torch():
    program = (
        "import contextlib, sys, run_downstream\n"
        "with contextlib.suppress(SystemExit):\n"
        "    run_downstream.main(['-h'])\n"
        "print('HEAVY', [m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for name in (*TASKS, "fbank", "mfcc", "stft_mag", "waveform"):
        assert re.search(rf"\b{name}\b", done.stdout), name


@pytest.mark.parametrize("folder", [f"downstream/{n}" for n in TASKS] + [f"upstream/{n}" for n in UPSTREAMS])
def test_every_plugin_has_a_readme(folder):
    assert len((ROOT / folder / "README.md").read_text(encoding="utf-8")) > 300


@pytest.mark.parametrize("readme", sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("README.md") if ".venv" not in p.parts))
def test_links_in_readmes_lead_somewhere(readme):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / readme).read_text(encoding="utf-8")):
        assert target.startswith(("http://", "https://")) or (ROOT / readme).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("name", UPSTREAMS)
def test_the_files_that_a_readme_of_an_upstream_names_are_there(name):
    for file in re.findall(r"`([\w./-]+\.(?:py|yaml))`", (ROOT / "upstream" / name / "README.md").read_text(encoding="utf-8")):
        assert any((folder / file).is_file() for folder in (ROOT / "upstream" / name, ROOT, ROOT / "utility" / "networks")), file


def test_no_machine_and_no_large_file_is_committed():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    assert files
    assert not [f for f in files if (ROOT / f).is_file() and (ROOT / f).stat().st_size > 1_000_000]


def test_the_readme_has_both_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.+)\n```", text)
    assert [name for name, _ in blocks] == ["train", "test"]
    assert "-n HelloWorld -u fbank -d example" in blocks[0][1]
    assert blocks[1][1].endswith("-m pytest")


def test_training_works_without_torchaudio(tmp_path):
    """torchaudio is a reference for tests; blocked, a training on fbank with resampled inference still works."""
    program = (
        "import sys; sys.modules['torchaudio'] = None\n"
        "from run_downstream import main\n"
        "small = \"config.runner.total_steps=1,,config.downstream_expert.datarc.sizes={'train':4,'dev':2,'test':2}\"\n"
        f"sys.exit(main(['-u', 'fbank', '-d', 'example', '-p', {str(tmp_path)!r}, '-o', small, '--device', 'cpu']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "training is complete" in done.stdout
