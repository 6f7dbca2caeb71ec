"""Checkpoints of the published sizes with random weights, each in its published layout; used by ``full_sizes.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import RobertaConfig, RobertaModel, Wav2Vec2Config, Wav2Vec2Model

from tests.upstream.conv_transformer.sizes import SIZES, random_body, write_checkpoint, write_distilhubert
from tests.upstream.frames.tiny import KALDI, MEL, bert, decoar, frame_model
from upstream.blocks.fairseq_files import FairseqModel
from upstream.blocks.wav2vec_config import wav2vec_config
from upstream.blocks.wav2vec_model import Wav2VecModel
from upstream.cpc.config import CpcConfig
from upstream.cpc.model import CpcModel
from upstream.pase.config import read_pase_config
from upstream.pase.expert import DEFAULT_CONFIG
from upstream.pase.model import PaseModel
from utility.networks.apc import Apc, ApcConfig
from utility.networks.npc import Npc, NpcConfig
from utility.networks.transformer_weights import fairseq_weights
from utility.networks.weights import renamed

Made = tuple[str, dict[str, Any]]
"""Entry and arguments for ``upstream.registry.build``."""

# specs/upstreams.md, sections 7 to 12
APC = {"num_layers": 3, "hidden_size": 512, "dropout": 0.1, "residual": True}
VQ_APC = {**APC, "vq": {"codebook_size": [512], "code_dim": [512], "gumbel_temperature": 0.5}}
NPC = {"kernel_size": 15, "mask_size": 5, "n_blocks": 4, "hidden_size": 512, "vq": {"codebook_size": [64] * 4, "code_dim": [128] * 4}}
BASE = {"hidden_size": 768, "num_hidden_layers": 3, "num_attention_heads": 12, "intermediate_size": 3072}
VQ_LAYERS = {"conv_feature_layers": "[(512, 10, 5), (512, 8, 4)] + [(512, 4, 2)] * 3 + [(512, 1, 1)] * 3"}
KMEANS = {**VQ_LAYERS, "vq_type": "kmeans", "vq_vars": 320, "vq_groups": 2, "combine_groups": True, "activation": "gelu"}
GUMBEL = {**KMEANS, "vq_type": "gumbel", "vq_depth": 2}
CODES, PLACES = 320, 2048
_LAYER = r"encoder\.layer\.(\d+)\."
_TO = r"encoder.layers.\1."
ROBERTA_NAMES: tuple[tuple[str, str | None], ...] = (
    (r"embeddings\.word_embeddings\.weight", "encoder.embed_tokens.weight"),
    (r"embeddings\.position_embeddings\.weight", "encoder.embed_positions.weight"),
    (r"embeddings\.LayerNorm\.(\w+)", r"encoder.layernorm_embedding.\1"),
    *((_LAYER + rf"attention\.self\.{name}\.(\w+)", _TO + rf"self_attn.{name[0]}_proj.\2") for name in ("query", "key", "value")),
    (_LAYER + r"attention\.output\.dense\.(\w+)", _TO + r"self_attn.out_proj.\2"),
    (_LAYER + r"attention\.output\.LayerNorm\.(\w+)", _TO + r"self_attn_layer_norm.\2"),
    (_LAYER + r"intermediate\.dense\.(\w+)", _TO + r"fc1.\2"),
    (_LAYER + r"output\.dense\.(\w+)", _TO + r"fc2.\2"),
    (_LAYER + r"output\.LayerNorm\.(\w+)", _TO + r"final_layer_norm.\2"),
    (r"embeddings\.(token_type_embeddings\.weight|position_ids|token_type_ids)", None),
)


def frame_file(entry: str, net: Callable[[], nn.Module], paras: dict[str, Any]) -> Callable[[Path], Made]:
    """APC and its kin."""
    return lambda folder: saved(entry, frame_model(net(), paras), folder)


def bert_file(entry: str, audio: dict[str, Any], width: int, **changes: Any) -> Callable[[Path], Made]:
    """Mockingjay and its kin."""
    return lambda folder: saved(entry, bert(audio, width, **{**BASE, **changes}), folder)


def saved(entry: str, content: dict[str, Any], folder: Path) -> Made:
    """Writes a checkpoint."""
    torch.save(content, folder / "ckpt.pt")
    return entry, {"ckpt": str(folder / "ckpt.pt")}


def wav2vec(entry: str, settings: dict[str, Any]) -> Callable[[Path], Made]:
    """wav2vec 1.0 and vq-wav2vec."""

    def make(folder: Path) -> Made:
        net = Wav2VecModel(wav2vec_config(FairseqModel(settings, {}, {}, "converted"), entry))
        return saved(entry, {"task_cfg": {}, "model_cfg": {"_name": "wav2vec", **settings}, "model_weight": net.state_dict()}, folder)

    return make


def discretebert(folder: Path) -> Made:
    """A RoBERTa over the pairs of codes that a vq-wav2vec can give, as many of them as the published dictionary has."""
    (folder / "front").mkdir()
    _, front = wav2vec("vq_wav2vec_local", KMEANS)(folder / "front")
    words = [f"{a}-{b}" for a in range(CODES) for b in range(CODES)][:13584]
    config = RobertaConfig(vocab_size=len(words) + 4, max_position_embeddings=PLACES + 2, type_vocab_size=1, pad_token_id=1)
    weights = renamed(RobertaModel(config, add_pooling_layer=False).state_dict(), ROBERTA_NAMES)
    content = {"task_cfg": {}, "model_cfg": {}, "model_weight": weights, "text_dictionary": "".join(f"{word} 1\n" for word in words)}
    entry, made = saved("discretebert", content, folder)
    return entry, {**made, "frontend": front["ckpt"]}


def hf(folder: Path) -> Made:
    """wav2vec 2.0 as ``save_pretrained`` writes it."""
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "feature_extractor_type": "Wav2Vec2FeatureExtractor"}')
    return "hf", {"ckpt": str(folder)}


def decoar2(folder: Path) -> Made:
    """The encoder of a base model over log mel energies."""
    body = {n: w for n, w in fairseq_weights(random_body("wav2vec2_base_960").state_dict()).items() if n.startswith("encoder.")}
    projection = nn.Linear(80, 768)
    weights = {**body, "post_extract_proj.weight": projection.weight.data, "post_extract_proj.bias": projection.bias.data}
    return saved("decoar2_local", {"model": weights}, folder)


def pase_plus(folder: Path) -> Made:
    """PASE+ with the config that lies beside the upstream."""
    entry, made = saved("pase_local", PaseModel(read_pase_config(DEFAULT_CONFIG)).state_dict(), folder)
    return entry, {**made, "model_config": str(DEFAULT_CONFIG)}


def conv_transformer(name: str) -> Callable[[Path], Made]:
    """One of :data:`tests.upstream.conv_transformer.sizes.SIZES`."""
    return lambda folder: (write_checkpoint(name, folder / "ckpt.pt"), {"ckpt": str(folder / "ckpt.pt")})


def is_large(name: str) -> bool:
    """300 million parameters and more."""
    return name in SIZES and SIZES[name][2] > 300_000_000


MAKERS: dict[str, Callable[[Path], Made]] = {
    "apc": frame_file("apc_local", lambda: Apc(80, ApcConfig.of(APC, "apc")), APC),
    "vq_apc": frame_file("vq_apc_local", lambda: Apc(80, ApcConfig.of(VQ_APC, "vq_apc")), VQ_APC),
    "npc": frame_file("npc_local", lambda: Npc(80, NpcConfig.of(NPC, "npc")), NPC),
    "mockingjay": bert_file("mockingjay_local", MEL, 80, num_hidden_layers=12),
    "tera": bert_file("tera_local", MEL, 80),
    "tera_fbankBase": bert_file("tera_local", KALDI, 240),
    "audio_albert": bert_file("audio_albert_local", MEL, 80, share_layer=True),
    "decoar": lambda folder: saved("decoar_local", decoar(1024, 4), folder),
    "decoar_layers": lambda folder: saved("decoar_layers_local", decoar(1024, 4), folder),
    "modified_cpc": lambda folder: saved("cpc_local", {"config": {}, "weights": CpcModel(CpcConfig.of({}, "cpc")).state_dict()}, folder),
    "pase_plus": pase_plus,
    "wav2vec": wav2vec("wav2vec_local", {}),
    "vq_wav2vec_gumbel": wav2vec("vq_wav2vec_local", GUMBEL),
    "vq_wav2vec_kmeans": wav2vec("vq_wav2vec_local", KMEANS),
    "discretebert": discretebert,
    "hf": hf,
    "decoar2": decoar2,
    "distilhubert": lambda folder: (write_distilhubert(folder / "ckpt.pt"), {"ckpt": str(folder / "ckpt.pt")}),
    **{name: conv_transformer(name) for name in SIZES},
}
