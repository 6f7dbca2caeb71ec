"""Tuned upstreams become files (or folders) that their own entries load to the last bit, or the reason why not is one sentence."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor, nn

from run_downstream import main as run
from tests.support.pipelines import untrained
from tests.upstream.conv_transformer.cases import CORE, ENTRIES, OPTIONS
from tests.upstream.frames import tiny as frames
from tests.upstream.hf.tiny import save as save_hf
from tests.upstream.recorded import GOLDEN
from tests.upstream.waveform_classics import tiny as classics
from upstream.registry import ROOT, build, entries, find
from utility import check_upstream, extract_features
from utility.errors import CheckpointError
from utility.experiment.checkpoint import save
from utility.experiment.override import parse_override
from utility.experiment.unpickle import load_foreign
from utility.export_upstream import _reader, main
from utility.networks.exported import MARK, content_of
from utility.networks.weights import read_checkpoint

TINY = (
    "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2,,"
    "config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0,,config.downstream_expert.datarc.train_batch_size=1,,"
    "config.optimizer.lr=0.05,,config.downstream_expert.datarc.sizes={'train':2,'dev':1,'test':1}"
)
WAVS = classics.noise(7000, 4000)
Families = dict[str, Callable[[Path], tuple[str, dict[str, str]]]]


def families() -> Families:
    """What writes a small checkpoint of each kind into a folder: the name of the entry and its arguments."""
    made: Families = {kind: lambda folder, kind=kind: _frames(kind, folder) for kind in frames.KINDS}
    made |= {name: lambda folder, name=name: classics.checkpoint(name, folder) for name in classics.NETS}
    return made | {name: lambda folder, name=name: (ENTRIES[name], {"ckpt": str(GOLDEN / name / "ckpt.pt")}) for name in CORE}


def _frames(kind: str, folder: Path) -> tuple[str, dict[str, str]]:
    return frames.entry(kind), {"ckpt": frames.saved(frames.content(kind), folder / "tiny.pt")}


FAMILIES = families()


def states(upstream: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        return list(upstream.eval()(WAVS)["hidden_states"])


@pytest.mark.parametrize("name", FAMILIES)
def test_an_export_is_the_tuned_upstream(name, tmp_path):
    entry, arguments = FAMILIES[name](tmp_path)
    tuned = frames.shaken(build(entry, **arguments), seed=5)
    original, path = load_foreign(arguments["ckpt"]), tmp_path / "export.pt"
    for _ in range(2):  # the second is an export of an export
        save({**content_of(find(entry).folder.name, entry, original, tuned.state_dict(), {"step": 3})}, [path])
        again = build(entry, **{**arguments, "ckpt": str(path)})
        assert all(torch.equal(one, other) for one, other in zip(states(again), states(tuned), strict=True))
        original, tuned = load_foreign(path), frames.shaken(again, seed=6)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in CORE])
def test_so_it_is_for_every_recorded_model_of_the_transformer_family(name, golden, tmp_path):
    ckpt, path = golden(f"upstreams/{name}") / "ckpt.pt", tmp_path / "export.pt"
    tuned = build(ENTRIES[name], ckpt=str(ckpt), **OPTIONS.get(name, {}))
    with torch.no_grad():
        for weight in tuned.parameters():
            weight.mul_(1.01)
    save({**content_of(find(ENTRIES[name]).folder.name, ENTRIES[name], load_foreign(ckpt), tuned.state_dict(), {})}, [path])
    again = build(ENTRIES[name], ckpt=str(path), **OPTIONS.get(name, {}))
    assert all(torch.equal(one, other) for one, other in zip(states(again), states(tuned), strict=True))


def test_every_entry_with_weights_has_one_that_reads_its_export():
    known = entries(ROOT)
    readers = {name: _reader(entry, known) for name, entry in known.items() if "ckpt" in (*entry.kwargs, *entry.needs)}
    assert all(known[reader].folder == known[name].folder for name, reader in readers.items())
    assert [readers[name] for name in ("vq_apc", "apc_960hr", "decoar_layers", "tera", "hubert", "contentvec", "discretebert")] == [
        *("vq_apc_local", "apc_local", "decoar_layers_local", "tera_local", "hubert_local", "hubert_local", "discretebert")
    ]


def train(folder: Path, *flags: str) -> int:
    return run([*flags, "-d", "example", "-p", str(folder), "-o", TINY, "--device", "cpu"])


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Path:
    """The folder of a training that tunes wav2vec 2.0."""
    folder = tmp_path_factory.mktemp("tuned")
    ckpt = str(GOLDEN / "wav2vec2_deepposconv/ckpt.pt")
    assert train(folder, "-u", "wav2vec2_local", "-k", ckpt, "-f", "-s", "last_hidden_state") == 0
    return folder


def test_the_program_names_what_loads_the_file(tuned, tmp_path, capsys):
    """Its words train another experiment, whose upstream begins with the tuned weights."""
    output = tmp_path / "new/tuned.pt"
    capsys.readouterr()
    assert main([str(tuned), "--output", str(output)]) == 0
    words = capsys.readouterr().out.split()
    assert words == ["-u", "wav2vec2_local", "-k", str(output)]
    upstream, before = build(words[1], ckpt=words[3]), build(words[1], ckpt=str(GOLDEN / "wav2vec2_deepposconv/ckpt.pt"))
    trained = load_foreign(tuned / "states-2.ckpt")["Upstream"]
    assert all(torch.equal(value, trained[name]) for name, value in upstream.state_dict().items())
    assert any(not torch.equal(one, other) for one, other in zip(states(upstream), states(before), strict=True))
    assert train(tmp_path / "other", *words, "-l", "1") == 0
    assert main([str(tuned), "--output", str(output)]) == 2
    assert f"{output} exists already" in capsys.readouterr().err


def test_the_states_of_an_exported_run_are_those_of_the_run_and_other_programs_take_it(tmp_path, capsys):
    """From the command line alone: a training, its export, the checks and the features of the export."""
    flags = ["-u", "apc_local", "-k", str(GOLDEN / "vq_apc/ckpt.pt")]
    assert train(tmp_path / "run", *flags, "-f") == 0
    capsys.readouterr()
    assert main([str(tmp_path / "run/states-2.ckpt"), "--output", str(tmp_path / "tuned.pt")]) == 0
    words = capsys.readouterr().out.split()
    soundfile.write(tmp_path / "x.wav", WAVS[0].numpy(), 16000, subtype="FLOAT")
    features = ["apc_local", *words[2:], "--files", str(tmp_path / "x.wav"), "--output_dir", str(tmp_path / "o"), "--device", "cpu"]
    assert extract_features.main(features) == 0
    assert check_upstream.main(["apc_local", *words[2:], "--device", "cpu"]) == 0
    pipeline = untrained("example", tmp_path / "evaluated", "-e", str(tmp_path / "run"))
    with torch.no_grad():
        of_the_run = pipeline.upstream([WAVS[0]])["hidden_states"]
    assert all(torch.equal(one, other[0]) for one, other in zip(torch.load(tmp_path / "o/x.pt"), of_the_run, strict=True))


def test_the_words_name_the_options_of_the_training(tuned, tmp_path, capsys):
    """Without them the states would be others."""
    options = {"batch_independent": True, "feature_selection": "fairseq_layers"}
    state = load_foreign(tuned / "states-2.ckpt")
    torch.save({**state, "Config": {**state["Config"], "upstream_options": options}}, tmp_path / "other.ckpt")
    capsys.readouterr()
    assert main([str(tmp_path / "other.ckpt"), "--output", str(tmp_path / "a b.pt")]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:4] == ["-u", "wav2vec2_local", "-k", str(tmp_path / "a b.pt")]
    given = {option.fields[-1]: option.value for option in parse_override(words[5])}
    assert words[4] == "-o" and given == options


def test_a_small_file_makes_no_large_net(tmp_path):
    """DeCoAR's sizes are those of its weights, which an export only notes."""
    entry, arguments = FAMILIES["decoar"](tmp_path)
    content = content_of("decoar", entry, load_foreign(arguments["ckpt"]), build(entry, **arguments).state_dict(), {})
    content[MARK]["outline"]["model"]["post_extract_proj.weight"]["__tensor__"][0] = [10**9, 80]
    torch.save(content, tmp_path / "large.pt")
    with pytest.raises(CheckpointError, match=r"large\.pt is no checkpoint of DeCoAR: it has no matrix post_extract_proj"):
        build(entry, ckpt=str(tmp_path / "large.pt"))


@pytest.mark.parametrize("model", ["wav2vec2", "whisper"])
def test_hugging_face_models_become_folders(model, tmp_path, capsys):
    save_hf(model, tmp_path / "model")
    assert train(tmp_path / "run", "-u", "hf", "-k", str(tmp_path / "model"), "-f", "-s", "last_hidden_state") == 0
    capsys.readouterr()
    assert main([str(tmp_path / "run"), "--output", str(tmp_path / "tuned")]) == 0
    assert capsys.readouterr().out.split() == ["-u", "hf", "-k", str(tmp_path / "tuned")]
    upstream = build("hf", ckpt=str(tmp_path / "tuned"))
    trained = load_foreign(tmp_path / "run/states-2.ckpt")["Upstream"]
    assert all(torch.equal(value, trained[name]) for name, value in upstream.state_dict().items())


def test_what_cannot_be_exported_is_one_sentence(tuned, tmp_path, capsys):
    assert train(tmp_path / "frozen", "-u", "fbank") == 0
    assert main([str(tmp_path / "frozen"), "--output", str(tmp_path / "x.pt")]) == 2
    assert "holds no upstream: its weights are stored only where they were trained (-f)" in capsys.readouterr().err
    state = load_foreign(tuned / "states-2.ckpt")
    for upstream, sentence in ((str(tmp_path), "which is none of the registered ones"), ("fbank", "has no weights")):
        torch.save({**state, "Args": {**state["Args"], "upstream": upstream}}, tmp_path / "other.ckpt")
        assert main([str(tmp_path / "other.ckpt"), "--output", str(tmp_path / "x.pt")]) == 2
        assert sentence in capsys.readouterr().err
    torch.save({**state, "Upstream": {"model.encoder.weight": torch.ones(1)}}, tmp_path / "other.ckpt")  # S3PRL's have other names
    assert main([str(tmp_path / "other.ckpt"), "--output", str(tmp_path / "x.pt")]) == 2
    assert "does not fit wav2vec2_local: " in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()


def test_exports_are_refused_where_they_do_not_belong(tuned, tmp_path, capsys):
    path = tmp_path / "tuned.pt"
    assert main([str(tuned), "--output", str(path)]) == 0
    assert train(tmp_path / "run", "-u", "hubert_local", "-k", str(path)) == 2
    assert "was exported from the upstream 'wav2vec2_local' (wav2vec2), not from one of hubert" in capsys.readouterr().err
    with pytest.raises(Exception, match="only the registry of upstreams can build"):
        read_checkpoint(path)
    content = load_foreign(path)
    first = next(iter(content[MARK]["state"]))
    damaged = {
        "no state": {"state": None},
        "a note": {"outline": {"cfg": {}, "model": {"x": {"__tensor__": ["a", "eval"]}}}},
        "a weight": {},
        "weights without names": {"state": {**content[MARK]["state"], 5: torch.ones(1)}},
    }
    for what, change in damaged.items():
        state = {k: v for k, v in content[MARK]["state"].items() if what != "a weight" or k != first}
        torch.save({MARK: {**content[MARK], "state": state, **change}}, tmp_path / "damaged.pt")
        assert train(tmp_path / "run", "-u", "wav2vec2_local", "-k", str(tmp_path / "damaged.pt")) == 2
        assert "damaged.pt" in capsys.readouterr().err
