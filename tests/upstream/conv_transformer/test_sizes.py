"""Published sizes without weights, and the names of the family."""

from __future__ import annotations

import pytest
import torch

from upstream.registry import ROOT, entries
from utility.networks.prediction_heads import PredictionHeads
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings

LARGE = {"encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "encoder_layers": 24, "encoder_attention_heads": 16}
NORMED = {"extractor_mode": "layer_norm", "layer_norm_first": True}
DEEP = {"extractor_mode": "layer_norm", "conv_pos": 95, "pos_conv_depth": 5}
RELATIVE = {"relative_position_embedding": True, "gru_rel_pos": True, "max_distance": 800}
BIG = {"encoder_layers": 48, "encoder_attention_heads": 16, "conv_bias": True}

# specs/upstreams.md, 11.5; the counts there include a mask embedding, which is left out here
SIZES = {
    "wav2vec2_base_960": ("wav2vec2", {}, 94_371_712),
    "wav2vec2_large_960": ("wav2vec2", LARGE, 315_428_992),
    "wav2vec2_large_ll60k": ("wav2vec2", {**LARGE, **NORMED, "conv_bias": True}, 315_438_720),
    "xls_r_1b": ("wav2vec2", {**NORMED, **BIG, "encoder_embed_dim": 1280, "encoder_ffn_embed_dim": 5120}, 962_497_408),
    "xls_r_2b": ("wav2vec2", {**NORMED, **BIG, "encoder_embed_dim": 1920, "encoder_ffn_embed_dim": 7680}, 2_159_259_648),
    "hubert_base": ("hubert", {}, 94_371_712),
    "hubert_large_ll60k": ("hubert", {**LARGE, **NORMED}, 315_435_136),
    "wavlm_base": ("wav2vec2", RELATIVE, 94_381_936),
    "wavlm_large": ("wav2vec2", {**LARGE, **NORMED, **RELATIVE}, 315_453_120),
    "unispeech_sat_base": ("unispeech-sat", {}, 94_371_712),
    "unispeech_sat_large": ("unispeech-sat", {**LARGE, **NORMED}, 315_435_136),
    "data2vec_base_960": ("wav2vec2", DEEP, 93_164_288),
    "data2vec_large_ll60k": ("wav2vec2", {**LARGE, **DEEP}, 313_276_416),
}
NAMES = {
    "wav2vec2": """wav2vec2_custom wav2vec2_local wav2vec2_url wav2vec2 wav2vec2_base_960 wav2vec2_large_960 wav2vec2_large_ll60k
        wav2vec2_large_lv60_cv_swbd_fsh xlsr_53 xls_r_300m xls_r_1b xls_r_2b wav2vec2_conformer_relpos wav2vec2_conformer_rope
        wav2vec2_large_voxpopuli_100k wav2vec2_base_s2st_es_voxpopuli wav2vec2_conformer_large_s2st_es_voxpopuli
        wav2vec2_base_s2st_en_librilight wav2vec2_conformer_large_s2st_en_librilight""",
    "hubert": """hubert_custom hubert_local hubert_url hubert hubert_base hubert_large_ll60k hubert_base_robust_mgr
        mhubert_base_vp_en_es_fr_it3 contentvec contentvec_km100 contentvec_km500 ms_hubert""",
    "wavlm": "wavlm_local wavlm_url wavlm wavlm_base wavlm_base_plus wavlm_large",
    "unispeech_sat": """unispeech_sat_local unispeech_sat_url unispeech_sat unispeech_sat_base unispeech_sat_base_plus
        unispeech_sat_large""",
    "data2vec": "data2vec_custom data2vec_local data2vec_url data2vec data2vec_base_960 data2vec_large_ll60k",
    "distiller": "distiller_local distiller_url distilhubert distilhubert_base",
    "decoar2": "decoar2_custom decoar2_local decoar2_url decoar2",
}


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_parameters_of_the_published_sizes(name):
    kind, given, count = SIZES[name]
    settings = TransformerSettings.of(given, "x.pt")
    with torch.device("meta"):
        assert parameters(build_body(settings, kind)) + settings.encoder_embed_dim == count


def test_parameters_of_distilhubert():
    with torch.device("meta"):
        body = build_body(TransformerSettings.of({"encoder_layers": 2}, "x.pt"), "hubert", projection_norm=False)
        heads = PredictionHeads(768, 768, 3, 768)
    assert round(parameters(body) / 1e6, 2) == 23.49
    assert round((parameters(body) + parameters(heads)) / 1e6, 2) == 27.03


@pytest.mark.parametrize("folder", NAMES)
def test_all_names_are_there(folder):
    declared = {name: entry for name, entry in entries(ROOT).items() if entry.folder.name == folder}
    assert set(declared) == set(NAMES[folder].split())
    for name, entry in declared.items():
        if name.endswith(("_local", "_url", "_custom")):
            assert entry.needs == ("ckpt",) and not entry.kwargs
        else:
            assert str(entry.kwargs["ckpt"]).startswith("https://")
        record = entry.record
        assert record.downsample_rate == 320 and record.licence and record.paper and record.source and record.hidden_sizes
