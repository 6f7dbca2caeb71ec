"""Names, layouts of the files, options, and the sections of settings in them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from tests.upstream.frames.tiny import FBANK, KALDI, MEL, bert, content, saved
from upstream.registry import build, find
from utility.errors import CheckpointError, ConfigError, UsageError
from utility.features.feature_config import kaldi_features, spectral_features
from utility.features.hamming_fbank import hamming_fbank
from utility.networks.fields import filled, nested

BERTS = ["logMelBase_T_AdamW_b32_200k_100hr", "logMelBase_T_AdamW_b32_1m_960hr", "logMelBase_T_AdamW_b32_1m_960hr_drop1"]
NAMES = {
    "apc": [
        "apc",
        "apc_360hr",
        "apc_960hr",
        "apc_local",
        "apc_url",
        "vq_apc",
        "vq_apc_360hr",
        "vq_apc_960hr",
        "vq_apc_local",
        "vq_apc_url",
    ],
    "npc": ["npc", "npc_360hr", "npc_960hr", "npc_local", "npc_url"],
    "decoar": [f"decoar{kind}{end}" for kind in ("", "_layers") for end in ("", "_custom", "_local", "_url")],
    "mockingjay": [
        *(f"mockingjay{end}" for end in ("", "_origin", "_100hr", "_960hr", "_local", "_url")),
        *(f"mockingjay_{name}" for name in (*BERTS, "logMelBase_T_AdamW_b32_1m_960hr_seq3k")),
        "mockingjay_logMelLinearLarge_T_AdamW_b32_500k_360hr_drop1",
        *(f"tera{end}" for end in ("", "_100hr", "_960hr", "_local", "_url")),
        *(f"tera_logMelBase_T_F_AdamW_b32_{end}" for end in ("200k_100hr", "1m_960hr", "1m_960hr_drop1", "1m_960hr_seq3k")),
        *("tera_logMelBase_T_F_M_AdamW_b32_200k_100hr", "tera_logMelBase_T_F_M_AdamW_b32_1m_960hr_drop1"),
        "tera_fbankBase_T_F_AdamW_b32_200k_100hr",
        *(f"audio_albert{end}" for end in ("", "_960hr", "_local", "_url", "_logMelBase_T_share_AdamW_b32_1m_960hr_drop1")),
    ],
}


@pytest.mark.parametrize("folder", NAMES)
def test_all_published_names_are_there(folder):
    for name in NAMES[folder]:
        found = find(name)
        assert found.folder.name == folder and not found.hidden
        if name.endswith(("_local", "_url", "_custom")):
            assert found.needs == ("ckpt",) and "ckpt" not in found.kwargs
            with pytest.raises(UsageError, match="needs the option ckpt"):
                build(name)
        else:
            assert found.kwargs["ckpt"].startswith("https://") and found.record.downsample_rate == 160 and found.record.hidden_sizes
        assert found.record.paper and found.record.licence and found.record.source and found.record.description


def test_aliases_lead_to_one_file():
    groups = ("apc apc_360hr", "vq_apc vq_apc_360hr", "npc npc_360hr", "tera tera_960hr", "audio_albert audio_albert_960hr")
    assert all(len({find(name).kwargs["ckpt"] for name in group.split()}) == 1 for group in groups)


def states(upstream, wavs):
    with torch.no_grad():
        return upstream.eval()(wavs)["hidden_states"]


def equal(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_config_of_the_first_year_old_norm_names_and_second_names(wavs, tmp_path):
    made = bert(KALDI, 240, pre_layer_norm=True)
    expected = states(build("mockingjay_local", ckpt=saved(made, tmp_path / "new.ckpt")), wavs)
    weights = made["Transformer"]
    for name in list(weights):
        value = weights.pop(name)
        if "output.LayerNorm" in name:
            weights[name.replace("output.LayerNorm", "LayerNorm")] = value
        weights[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = value
    made["Config"], made["Runner"] = made.pop("Upstream_Config"), made["Config"]
    old = build("mockingjay_local", ckpt=saved(made, tmp_path / "old.ckpt"))
    assert equal(states(old, wavs), expected)


def test_extraction_options(wavs, tmp_path):
    ckpt, options = saved(bert(MEL, 80), tmp_path / "tera.ckpt"), tmp_path / "options.yaml"

    def built(text: str):
        options.write_text(text)
        return build("tera_local", ckpt=ckpt, model_config=str(options))

    plain = states(build("tera_local", ckpt=ckpt), wavs)
    assert equal(states(built('{load_pretrain: "True", no_grad: "False", dropout: "default", select_layer: -1}'), wavs), plain)
    assert not equal(states(built('load_pretrain: "False"'), wavs), plain)
    assert not built('no_grad: "True"')(wavs)["last_hidden_state"].requires_grad
    still = built('dropout: "0.0"').train()
    assert torch.allclose(still(wavs)["last_hidden_state"], plain[-1], atol=1e-5)
    assert not torch.allclose(built('dropout: "0.5"').train()(wavs)["last_hidden_state"], plain[-1], atol=0.1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('spec_aug: "True"', r"spec_aug True is not offered \(the task has SpecAugment\)"),
        ('output_hidden_states: "False"', r"output_hidden_states False is not offered \(only True\)"),
        ('dropout: "1.5"', "dropout must be"),
        ("no_grad: maybe", "no_grad must be True or False, not 'maybe'"),
        ("droput: 0.1", "unknown option 'droput'; did you mean 'dropout'"),
    ],
)
def test_impossible_extraction_options(text, sentence, tmp_path):
    (tmp_path / "options.yaml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        build("tera_local", ckpt=saved(bert(MEL, 80), tmp_path / "tera.ckpt"), model_config=str(tmp_path / "options.yaml"))


def test_apc_of_fewer_layers_shows_what_it_has(wavs, tmp_path):
    from utility.networks.apc import Apc, ApcConfig

    made = content("apc")
    made["config"]["model"]["paras"]["num_layers"] = 1
    made["model"] = Apc(80, ApcConfig.of(made["config"]["model"]["paras"], "test")).state_dict()
    assert len(states(build("apc_local", ckpt=saved(made, tmp_path / "one.ckpt")), wavs)) == 1


def test_hamming_fbank_takes_kaldis_options_and_refuses_others():
    made = hamming_fbank({**FBANK, "feat_dim": 40, "low_freq": 50})
    assert (made.dim, made.rate, made.options.window_type, made.use_cmvn, made.options.low_freq) == (40, 160, "hamming", True, 50)
    assert not hamming_fbank({"cmvn": False}).use_cmvn and hamming_fbank().dim == 80
    for audio, sentence in (
        ({"feat_type": "mfcc"}, "must be fbank"),
        ({"cmvn": 3}, "cmvn must be"),
        ({"frame_lenght": 25}, "frame_length"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            hamming_fbank(audio)


def test_feature_sections_leave_other_features_alone_and_refuse_what_is_unknown():
    features = kaldi_features(KALDI, "test")
    assert (features.dim, features.delta_order, features.use_cmvn) == (240, 2, True)
    transform, spec = spectral_features(MEL, "test", ignored=("target", "target_level"))
    assert (transform.dim(spec), spec.cmvn) == (80, True)
    for config, sentence in (
        ({**KALDI, "kaldi": {"feat_type": "fbank", "fbnk": {}}}, "unknown field kaldi.fbnk; did you mean 'fbank'"),
        ({**KALDI, "kaldi": {"feat_type": "fbank", "fbank": 3}}, "fbank must be a mapping, not 3"),
        ({**KALDI, "delta": {"order": -1}}, "delta.order must be"),
        ({**KALDI, "extra": 1}, "unknown field extra"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            kaldi_features(config, "test")
    for config, sentence in (({**MEL, "n_mels": "x"}, "n_mels must be a number"), (MEL, "unknown field target")):
        with pytest.raises(ConfigError, match=sentence):
            spectral_features(config, "test", ignored=("target_level",))


def test_nested_sections():
    assert nested({"a": {"b": {1: 2}}}, "f", "a", "b") == {"1": 2}
    with pytest.raises(CheckpointError, match=r"f is no checkpoint of this upstream: it has no section 'a\.c'"):
        nested({"a": {"b": 1}}, "f", "a", "c")
    with pytest.raises(CheckpointError, match=r"it has a int as section 'a\.b'"):
        nested({"a": {"b": 1}}, "f", "a", "b")


def test_settings_are_checked_by_type_all_at_once():
    @dataclass
    class Settings:
        count: int
        rate: float = 0.5
        on: bool = False

    assert filled(Settings, {"count": 1, "rate": 2, "other": 3}, "f") == Settings(1, 2, False)
    with pytest.raises(ConfigError, match="f: the field count is missing; rate must be of type float, not True; on must be of type bool"):
        filled(Settings, {"rate": True, "on": 1}, "f")
