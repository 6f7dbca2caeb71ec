"""Published sizes without weights, and the names of the family."""

from __future__ import annotations

import pytest
import torch

from tests.upstream.conv_transformer.sizes import PREDICTIONS, SIZES, distilhubert
from upstream.registry import ROOT, entries, find
from utility.networks.transformer_body import build_body
from utility.networks.transformer_config import TransformerSettings

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
        body, heads = distilhubert()
    assert round(parameters(body) / 1e6, 2) == 23.49
    assert round((parameters(body) + parameters(heads)) / 1e6, 2) == 27.03


@pytest.mark.parametrize("folder", NAMES)
def test_all_names_are_there(folder):
    declared = {name: entry for name, entry in entries(ROOT).items() if entry.folder.name == folder}
    assert set(declared) == set(NAMES[folder].split())
    for name, entry in declared.items():
        record = entry.record
        if name.endswith(("_local", "_url", "_custom")):
            assert entry.needs == ("ckpt",) and not entry.kwargs and record.hidden_sizes == ()  # the file's
        else:
            assert str(entry.kwargs["ckpt"]).startswith("https://") and record.hidden_sizes
        assert record.downsample_rate == 320 and record.licence and record.paper and record.source


@pytest.mark.parametrize("name", SIZES)
def test_records_tell_the_published_widths(name):
    settings = TransformerSettings.of(SIZES[name][1], "x.pt")
    assert find(name).record.hidden_sizes == (settings.encoder_embed_dim,) * (settings.encoder_layers + 1)


def test_records_of_six_and_thirteen_states():
    assert find("distilhubert").record.hidden_sizes == (768,) * (3 + PREDICTIONS)
    assert find("decoar2").record.hidden_sizes == find("discretebert").record.hidden_sizes == (768,) * 13
    assert find("tera").record.hidden_sizes == (768,) * 4 and find("mockingjay").record.hidden_sizes == (768,) * 13
