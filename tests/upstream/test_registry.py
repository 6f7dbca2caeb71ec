"""What is selectable, by name and by path, and what goes wrong with plugins."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from upstream import registry
from upstream.interfaces import ListUpstream
from upstream.registry import available, build, entries, find
from utility.errors import ConfigError, MissingDependencyError, ToolkitError, UnknownNameError, UsageError
from utility.experiment.plugins import find_plugins, load_plugin

FIRST = {"baseline", "fbank", "fbank_no_cmvn", "mfcc", "spectrogram", "mel", "linear", "baseline_local", "stft_mag", "waveform"}
EXPERT = """
from torch import nn
from .model import WIDTH
from ..interfaces import UpstreamBase

class UpstreamExpert(UpstreamBase):
    def __init__(self, ckpt=None, model_config=None, width=WIDTH, **kwargs):
        super().__init__(**kwargs)
        self.linear = nn.Linear(1, width)
    def get_downsample_rates(self, key):
        return 1
    def forward(self, wavs):
        return {"hidden_states": [self.linear(wavs[0][None, :, None])]}
"""


@pytest.fixture
def outside(tmp_path):
    """A plugin folder whose name is no identifier, with a relative import."""
    folder = tmp_path / "my-upstream.v2"
    folder.mkdir()
    (folder / "expert.py").write_text(EXPERT)
    (folder / "model.py").write_text("WIDTH = 7\n")
    return folder


def expert(folder, text: str, card: str | None = None):
    folder.mkdir(parents=True)
    (folder / "expert.py").write_text(text)
    if card is not None:
        (folder / "card.yaml").write_text(card)
    return folder


def test_the_first_upstreams_are_there():
    assert set(available()) >= FIRST | {"example", "customized_upstream"}
    assert available() == sorted(available())


@pytest.mark.parametrize("name", sorted(entries(registry.ROOT)))
def test_every_card_has_what_listings_show(name):
    entry = find(name)
    assert entry.record.name == name and entry.record.description and entry.record.licence
    assert (entry.folder / "README.md").is_file()


@pytest.mark.parametrize("name", sorted(name for name, entry in entries(registry.ROOT).items() if name in FIRST and not entry.needs))
def test_records_tell_the_truth(name):
    upstream, record = build(name), find(name).record
    states = upstream([torch.randn(record.sample_rate or 16000)])["hidden_states"]
    assert tuple(state.size(-1) for state in states) == record.hidden_sizes
    assert upstream.get_downsample_rates("hidden_states") == record.downsample_rate


def test_listing_imports_no_torch(repo):
    code = "import sys, upstream.registry as r; r.available(); r.find('fbank'); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0


def test_a_folder_outside_is_loaded_as_a_package(outside):
    upstream = build(str(outside))
    assert upstream([torch.zeros(5)])["hidden_states"][0].shape == (1, 5, 7)
    assert build(outside, width=3).linear.out_features == 3
    assert find(outside).outside and not find("fbank").outside
    assert type(build(outside)) is type(upstream), "loaded once"


def test_two_outside_folders_of_one_name_stay_apart(tmp_path):
    first, second = (expert(tmp_path / side / "same", EXPERT) for side in "ab")
    (first / "model.py").write_text("WIDTH = 2\n")
    (second / "model.py").write_text("WIDTH = 3\n")
    assert [build(folder).linear.out_features for folder in (first, second)] == [2, 3]


def test_an_older_expert_is_adapted_and_spared_unknown_options(tmp_path):
    folder = expert(
        tmp_path / "older",
        "from torch import nn\n"
        "class UpstreamExpert(nn.Module):\n"
        "    def __init__(self, ckpt):\n        super().__init__(); self.ckpt = ckpt\n"
        "    def get_output_dim(self):\n        return 2\n"
        "    def get_downsample_rate(self):\n        return 1\n"
        "    def forward(self, wavs):\n        return [wav[:, None].repeat(1, 2) for wav in wavs]\n",
    )
    upstream = build(folder, ckpt="a.ckpt")
    assert isinstance(upstream, ListUpstream) and upstream.upstream.ckpt == "a.ckpt"
    with pytest.raises(UsageError, match=r"takes no option 'model_config'.*valid: ckpt"):
        build(folder, model_config="c.yaml")


OLDER = """
from torch import nn
class UpstreamExpert(nn.Module):
    def __init__(self, {arguments}, **kwargs):
        super().__init__()
        self.given, self.others = ({names}), kwargs
    def get_output_dim(self):
        return 2
    def get_downsample_rate(self):
        return 1
    def forward(self, wavs):
        return [wav[:, None].repeat(1, 2) for wav in wavs]
"""


def test_the_constructors_of_s3prls_first_year(tmp_path):
    """``config`` was the name of what is ``model_config`` since, and ``-s`` went to the constructor, where it was None by default."""
    first = expert(tmp_path / "first", OLDER.format(arguments="ckpt, config", names="ckpt, config"))
    assert build(first).upstream.given == (None, None)
    assert build(first, "a.ckpt", "c.yaml", refresh=True).upstream.given == ("a.ckpt", "c.yaml")
    second = expert(tmp_path / "second", OLDER.format(arguments="ckpt, feature_selection", names="ckpt, feature_selection"))
    assert build(second, "a.ckpt").upstream.given == ("a.ckpt", None)
    assert build(second, feature_selection="c").upstream.given == (None, "c")
    other = expert(tmp_path / "other", OLDER.format(arguments="config='base'", names="config,"))
    assert build(other).upstream.given == ("base",) and build(other, model_config="c.yaml").upstream.given == ("c.yaml",)


def test_an_option_that_the_constructor_needs_is_named(tmp_path):
    folder = expert(tmp_path / "mine", OLDER.format(arguments="ckpt, *, size", names="size,"))
    with pytest.raises(UsageError, match=r"mine' needs the option size$"):
        build(folder)
    assert build(folder, size=3).upstream.given == (3,)


def test_unknown_names_and_paths():
    with pytest.raises(UnknownNameError, match=r"unknown upstream 'fbnk'; did you mean 'fbank'"):
        find("fbnk")
    with pytest.raises(UsageError, match=r"no upstream folder './nothing'"):
        find("./nothing")


def test_a_folder_without_an_expert_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"it has no expert.py"):
        build(tmp_path)
    with pytest.raises(UsageError, match=r"it does not exist"):
        load_plugin(tmp_path / "none", "UpstreamExpert")


def test_a_module_without_the_class_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match=r"expert.py defines no class UpstreamExpert"):
        build(expert(tmp_path / "x", "class Expert: pass\n"))


def test_an_absent_package_is_one_sentence(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"'needy' needs the package 'no_such_package_xyz'"):
        build(expert(tmp_path / "needy", "import no_such_package_xyz.part\n"))
    with pytest.raises(ToolkitError, match=r"'broken' cannot be imported: .*no_such_name"):
        build(expert(tmp_path / "broken", "from yaml import no_such_name\n"))


def test_a_package_whose_library_does_not_load_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "built_for_another.py").write_text("import ctypes\nctypes.CDLL('/no/such/library.so')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ToolkitError, match=r"'paired' needs the package 'built_for_another', which does not load .*/no/such/library.so"):
        build(expert(tmp_path / "paired", "import built_for_another\n"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("from .modle import X\n", ModuleNotFoundError),
        ("from upstream.record import X\n", ImportError),
        ("1 / 0\n", ZeroDivisionError),
        ("open('/no/such/file')\n", FileNotFoundError),
    ],
)
def test_a_bug_of_the_plugin_keeps_its_traceback(tmp_path, text, kind):
    with pytest.raises(kind) as caught:
        build(expert(tmp_path / "buggy", text))
    assert not isinstance(caught.value, ToolkitError)


def test_an_init_file_of_an_outside_folder_runs(tmp_path):
    folder = expert(tmp_path / "with_init", "from . import WIDTH\nclass UpstreamExpert: pass\n")
    (folder / "__init__.py").write_text("WIDTH = 5\n")
    assert load_plugin(folder, "UpstreamExpert").__module__.endswith(".expert")


def test_a_name_claimed_twice_shows_both_owners(tmp_path):
    expert(tmp_path / "a", "", "variants: {same: {}}")
    expert(tmp_path / "b", "", "variants: {same: {}}")
    with pytest.raises(ToolkitError, match=r"claim the name 'same': .*a and .*b$"):
        entries(tmp_path)


def test_cards(tmp_path):
    folder = expert(
        tmp_path / "many", "", "record: {licence: MIT}\nvariants:\n  old: {hidden: true, ckpt: w.pt}\n  new: {needs: [ckpt], size: 3}\n"
    )
    (folder / "w.pt").write_text("")
    found = entries(tmp_path)
    assert found["old"].hidden and found["old"].kwargs == {"ckpt": str(folder / "w.pt")}
    assert found["new"].needs == ("ckpt",) and found["new"].kwargs == {"size": 3} and found["new"].record.licence == "MIT"
    assert list(find_plugins(tmp_path)) == ["many"]


def test_hidden_entries_are_found_but_not_listed(tmp_path, monkeypatch):
    expert(tmp_path / "many", "", "variants: {old: {hidden: true}, new: {}}")
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    assert available() == ["new"] and find("old").name == "old"


def test_the_card_of_an_outside_folder_counts(outside):
    (outside / "card.yaml").write_text("record: {licence: MIT}\nvariants: {wide: {width: 9}, wider: {width: 99}}\n")
    assert build(outside).linear.out_features == 9 and find(outside).record.licence == "MIT"


def test_a_folder_elsewhere_in_the_repository_is_an_outside_one(repo, tmp_path, monkeypatch):
    monkeypatch.setattr("utility.experiment.plugins.ROOT", tmp_path)
    folder = expert(tmp_path / "result" / "mine", "class UpstreamExpert: pass\n")
    assert load_plugin(folder, "UpstreamExpert").__module__.startswith("upstream.outside_")


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ("recrod: {}", "unknown key 'recrod'; did you mean 'record'"),
        ("record: {license: MIT}", "unknown record field 'license'; did you mean 'licence'"),
        ("- a", "a mapping with the keys"),
        ("a: [", "not valid YAML"),
        ("variants: [a]", r"variants must be a mapping, not \['a'\]"),
        ("record: a", "record must be a mapping, not 'a'"),
        ("variants: {a: b}", "variants.a must be a mapping, not 'b'"),
        ("variants: {null: {}}", "variants: None is no name"),
        ("variants: {a: {record: b}}", "variants.a.record must be a mapping, not 'b'"),
        ("variants: {a: {needs: ckpt}}", r"variants.a.needs must be a list of options, such as \[ckpt\], not 'ckpt'"),
        ("variants: {a: {needs: [1]}}", r"such as \[ckpt\], not \[1\]"),
        ("variants: {a: {needs: {ckpt: 3}}}", "variants.a.needs must say in words"),
        ("variants: {a: {hidden: maybe}}", "variants.a.hidden must be true or false, not 'maybe'"),
        ("record: {hidden_sizes: 768}", "record.hidden_sizes must be a list of widths, or 13 x 768 for equal ones, not 768"),
        ("record: {hidden_sizes: [a]}", "record.hidden_sizes must be a list of widths"),
        ("record: {sample_rate: 16k, licence: 3}", "record.sample_rate must be a whole number, not '16k'.*record.licence must be a text"),
    ],
)
def test_wrong_cards_are_named(tmp_path, card, sentence):
    expert(tmp_path / "wrong", "", card)
    with pytest.raises(ConfigError, match=f"(?s){sentence}"):
        entries(tmp_path)


def test_a_card_of_bytes_is_named(tmp_path):
    expert(tmp_path / "wrong", "")
    (tmp_path / "wrong" / "card.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"card.yaml: not a text in UTF-8"):
        entries(tmp_path)


def test_equal_widths_are_said_in_short(tmp_path):
    expert(tmp_path / "many", "", "variants: {short: {record: {hidden_sizes: 3 x 8}}, long: {record: {hidden_sizes: [8, 4]}}}")
    found = entries(tmp_path)
    assert found["short"].record.hidden_sizes == (8, 8, 8) and found["long"].record.hidden_sizes == (8, 4)


def test_a_missing_needed_option_is_named_with_its_flag():
    with pytest.raises(UsageError, match=r"'baseline_local' needs the option model_config \(-g FILE\)"):
        build("baseline_local")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("kaldi: {feat_type: fbank, fbank: {num_mel_bin: 3}}\ndelt: {order: 1}", ["'num_mel_bin'", "delt; did you mean 'delta'"]),
        ("kaldi: {feat_type: fbank, mfc: {}}\ndelta: {order: 1, win_length: 4}", ["kaldi.mfc", "win_length odd"]),
        ("kaldi: {feat_type: fbnk}", ["unknown feat_type 'fbnk'; did you mean 'fbank'"]),
        ("win_ms: 25\nhop: 10\ninput: {feat_type: mel}", ["unknown field hop; did you mean 'hop_ms'"]),
        ("win_ms: 25\ninput: {feat_type: melo, delt: 1}", ["'delt' of a feature; did you mean 'delta'", "feat_type 'melo'"]),
        ("win_ms: 30\nn_freq: 201\ninput: {feat_type: mel}", ["win_ms 30 is 480 samples"]),
        ("win_ms: wide\ninput: {feat_type: mel}", ["win_ms must be a number"]),
        ("input: {feat_type: mfcc, log: true}", ["log is defined for linear and mel"]),
        ("[1]", ["is a list, not a mapping"]),
    ],
)
def test_wrong_configs_of_the_baseline_are_named(tmp_path, text, sentences):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        build("baseline_local", model_config=str(config))
    assert all(sentence in str(caught.value) for sentence in [*sentences, "c.yaml"]), str(caught.value)


def test_stft_options():
    upstream = build("stft_mag", n_fft=1024, hop_length=256, win_length=800, log=True)
    assert upstream([torch.randn(4096)])["hidden_states"][0].shape == (1, 17, 513)
    assert upstream.get_downsample_rates("hidden_states") == 256
    with pytest.raises(ConfigError, match=r"unknown field spectrogram.hop_len; did you mean 'hop_length'"):
        build("stft_mag", hop_len=3)
    with pytest.raises(ConfigError, match=r"win_length 512 exceeds n_fft 256"):
        build("stft_mag", n_fft=256)


@pytest.mark.parametrize("kind", ["phase", "wav"])
def test_rarer_features_of_the_online_preprocessor(tmp_path, kind):
    config = tmp_path / "c.yaml"
    config.write_text(f"input: {{feat_type: {kind}}}")
    upstream, wavs = build("baseline_local", model_config=str(config)), [torch.randn(4000), torch.randn(2000)]
    state = upstream(wavs)["last_hidden_state"]
    assert state.shape == ((2, 26, 201) if kind == "phase" else (2, 4000, 1))


def test_mel_can_be_computed_independently_of_the_batch():
    wavs = [torch.randn(3000), torch.randn(8000)]
    mixed, alone = build("mel"), build("mel", batch_independent=True)
    assert alone.batch_independent and not mixed.batch_independent
    together = alone(wavs)
    single = alone([wavs[0]])["last_hidden_state"][0]
    assert torch.equal(together["last_hidden_state"][0, : int(together["lengths"][0])], single)
    assert not torch.equal(mixed(wavs)["last_hidden_state"][0, :18], single[:18])


def test_torch_hub_sees_the_upstreams_and_trained_tasks(repo):
    import torch.hub

    import hubconf

    assert set(dir(hubconf)) == {"dependencies", "predictor", "mos_predictor", *entries(registry.ROOT)}
    assert torch.hub.load(str(repo), "mfcc", source="local")([torch.randn(800)])["last_hidden_state"].shape == (1, 3, 39)
    with pytest.raises(AttributeError, match=r"did you mean 'fbank'"):
        hubconf.fbnk  # noqa: B018


@pytest.mark.parametrize(("name", "case"), [("fbank", None), ("wav2vec2_local", "wav2vec2_deepposconv"), ("tera_local", "tera_chunked")])
def test_the_code_of_an_upstream_is_all_that_its_modules_are_made_of(name, case, golden):
    upstream = registry.build(name, ckpt=str(golden(f"upstreams/{case}") / "ckpt.pt") if case else None)
    folders = registry.code_of(name)
    of_ours = {Path(inspect.getfile(type(module))) for module in upstream.modules()}
    of_ours = {path for path in of_ours if path.is_relative_to(registry.ROOT.parent) and "site-packages" not in path.parts}
    assert of_ours and all(any(path.is_relative_to(folder) for folder in folders) for path in of_ours)
