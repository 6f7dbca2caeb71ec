"""Settings of convolution + Transformer models as fairseq names them, and the Hugging Face config of the same net.

Covers wav2vec 2.0 (2006.11477), HuBERT (2106.07447), WavLM (2110.13900), UniSpeech-SAT (2110.05752), data2vec (2202.03555), DistilHuBERT
(2110.01900) and the conformer of fairseq S2T (2010.05171); specs/upstreams.md, sections 11.5 and 13.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utility.errors import CheckpointError, did_you_mean
from utility.networks.conv_layers import conv_layers

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PUBLISHED_CONVOLUTIONS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
EXTRACTORS = {"default": "group", "layer_norm": "layer"}
ACTIVATIONS = {"gelu": "gelu", "gelu_accurate": "gelu_new", "relu": "relu", "swish": "swish", "tanh": "tanh", "linear": "linear"}
POSITIONS = {"abs": None, "rel_pos": "relative", "rope": "rotary"}
LAYER_TYPES = ("transformer", "conformer")


@dataclass(frozen=True)
class TransformerSettings:
    """The fields of fairseq's ``Wav2Vec2Config`` and of WavLM's that shape the net, by their names and with their defaults.

    Those that only pre-training reads are left out. ``conv_feature_layers`` is parsed: (channels, kernel, stride) of each convolution.
    """

    extractor_mode: str = "default"
    conv_feature_layers: Any = PUBLISHED_CONVOLUTIONS
    conv_bias: bool = False
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    activation_fn: str = "gelu"
    layer_norm_first: bool = False
    layer_type: str = "transformer"
    pos_enc_type: str = "abs"
    depthwise_conv_kernel_size: int = 31
    conv_pos: int = 128
    conv_pos_groups: int = 16
    pos_conv_depth: int = 1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    dropout_input: float = 0.0
    relative_position_embedding: bool = False
    num_buckets: int = 320
    max_distance: int = 1280
    gru_rel_pos: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], path: str | Path) -> TransformerSettings:
        """From a checkpoint's settings; fields that are not of the net are passed over, absent ones take their defaults.

        Raises:
            CheckpointError: fields of another type or impossible values, all at once.
        """
        known = {f.name: f for f in fields(cls)}
        taken = {name: value for name, value in given.items() if name in known and value is not None}
        faults = [f"{name} is {value!r}" for name, value in taken.items() if not _fits(known[name].type, value)]
        if faults:
            raise CheckpointError(f"{path} has impossible settings: {', '.join(faults)}")
        taken["conv_feature_layers"] = tuple(
            conv_layers(taken.get("conv_feature_layers", PUBLISHED_CONVOLUTIONS), f"{path}: conv_feature_layers")
        )
        made = cls(**taken)
        if faults := made.faults():
            raise CheckpointError(f"{path} has impossible settings: {'; '.join(faults)}")
        return made

    def faults(self) -> list[str]:
        """What is impossible about the settings."""
        choices = {"extractor_mode": EXTRACTORS, "activation_fn": ACTIVATIONS, "layer_type": LAYER_TYPES, "pos_enc_type": POSITIONS}
        faults = [
            f"unknown {name} {getattr(self, name)!r}{did_you_mean(getattr(self, name), valid)}"
            for name, valid in choices.items()
            if getattr(self, name) not in valid
        ]
        for divisor in ("encoder_attention_heads", "conv_pos_groups"):
            if self.encoder_embed_dim % getattr(self, divisor):
                faults.append(f"encoder_embed_dim {self.encoder_embed_dim} is no multiple of {divisor} {getattr(self, divisor)}")
        if self.conformer and self.depthwise_conv_kernel_size % 2 == 0:
            faults.append(f"depthwise_conv_kernel_size must be odd, not {self.depthwise_conv_kernel_size}")
        if self.relative_position_embedding and self.conformer:
            faults.append("relative_position_embedding does not go with layer_type conformer")
        if self.relative_position_embedding and not 4 <= self.num_buckets < 4 * self.max_distance:
            faults.append(f"num_buckets must be 4 or more and below 4 max_distance, not {self.num_buckets} with {self.max_distance}")
        return faults

    @property
    def conformer(self) -> bool:
        """Whether the layers are conformer layers."""
        return self.layer_type == "conformer"

    @property
    def projected(self) -> bool:
        """Whether there is a projection behind the convolutions; fairseq leaves it out where the widths are equal."""
        return self.conv_feature_layers[-1][0] != self.encoder_embed_dim

    @property
    def position_kernel(self) -> int:
        """Width of each convolution of a deep position embedding (data2vec)."""
        return max(3, self.conv_pos // self.pos_conv_depth)

    @property
    def convolves_position(self) -> bool:
        """Whether a convolution adds the positions; conformers with relative or rotary ones have none, whatever their files hold."""
        return not (self.conformer and POSITIONS[self.pos_enc_type])

    def hf_config(self, kind: str, projection_norm: bool = True) -> PreTrainedConfig:
        """The config of a Hugging Face model.

        Args:
            kind: its ``model_type``, such as ``"hubert"``.
            projection_norm: False leaves out the layer norm before the projection (DistilHuBERT; only of ``"hubert"``).
        """
        from transformers import AutoConfig

        special: dict[str, Any] = {"feat_proj_layer_norm": projection_norm} if kind == "hubert" else {}
        if kind == "wavlm":
            special = {"num_buckets": self.num_buckets, "max_bucket_distance": self.max_distance}
        if kind == "wav2vec2-conformer":
            special = {
                "position_embeddings_type": POSITIONS[self.pos_enc_type],
                "conv_depthwise_kernel_size": self.depthwise_conv_kernel_size,
                "conformer_conv_dropout": self.dropout,
            }
        channels, kernels, strides = zip(*self.conv_feature_layers, strict=True)
        return AutoConfig.for_model(
            kind,
            hidden_size=self.encoder_embed_dim,
            num_hidden_layers=self.encoder_layers,
            num_attention_heads=self.encoder_attention_heads,
            intermediate_size=self.encoder_ffn_embed_dim,
            hidden_act="swish" if self.conformer else ACTIVATIONS[self.activation_fn],  # fairseq's conformer passes over activation_fn
            hidden_dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            feat_proj_dropout=self.dropout_input,
            feat_extract_norm=EXTRACTORS[self.extractor_mode],
            conv_dim=list(channels),
            conv_kernel=list(kernels),
            conv_stride=list(strides),
            conv_bias=self.conv_bias,
            num_conv_pos_embeddings=self.conv_pos,
            num_conv_pos_embedding_groups=self.conv_pos_groups,
            do_stable_layer_norm=self.layer_norm_first,
            layer_norm_eps=1e-5,
            layerdrop=0.0,  # a dropped layer would change the number of states
            apply_spec_augment=False,
            mask_time_prob=0.0,  # and so no mask embedding, which only pre-training reads
            mask_feature_prob=0.0,
            **special,
        )


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a value is of a field's type; whole numbers are positive, shares lie in [0, 1]."""
    if annotation == "bool":
        return isinstance(value, bool)
    if annotation == "int":
        return type(value) is int and value > 0
    if annotation == "float":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return annotation == "Any" or isinstance(value, str)
