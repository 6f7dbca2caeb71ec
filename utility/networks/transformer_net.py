"""A convolution + Transformer net at work: waveforms through the convolutions into the encoder, with fairseq's padding or without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from utility.features.waves import pad_waves
from utility.networks.by_length import run_by_length
from utility.networks.conv_layers import frames_of
from utility.networks.frozen_convolutions import FrozenConvolutions
from utility.networks.transformer_config import TransformerSettings
from utility.networks.transformer_encoder import called, encoder_states, with_final_norm
from utility.networks.transformer_masks import grouped_frames, valid_mask, without_padding

Masking = Literal["convolutions", "groups"]
Run = Callable[[Tensor, Tensor | None], Sequence[Tensor]]
"""(B, T, D) projected features and (B, T) True at valid frames, or None, to states (B, T, D)."""


class ConvTransformer(nn.Module):
    """A net with what is done around it.

    Args:
        model: of :func:`utility.networks.transformer_body.build_body`.
        settings: of the net.
        masking: which frames of a padded batch are valid, ``"convolutions"`` (those that the convolutions give an item alone) or
            ``"groups"`` (:func:`utility.networks.transformer_masks.grouped_frames`).
        feature_grad_mult: scales the gradient that reaches the convolutions; with 0 they are frozen.
        gradient_checkpointing: recompute activations in the backward pass of train mode, for memory.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TransformerSettings,
        masking: Masking,
        feature_grad_mult: float = 0.0,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        self.model, self.settings, self.masking = model, settings, masking
        self.feature_grad_mult, self.gradient_checkpointing = feature_grad_mult, gradient_checkpointing
        model.feature_extractor.requires_grad_(feature_grad_mult > 0)

    @property
    def maskable(self) -> bool:
        """Whether a mask makes the encoder blind to padding: not where several convolutions follow each other, whose biases fill it."""
        return not self.settings.conformer and self.settings.pos_conv_depth == 1

    @property
    def padding_reach(self) -> int | None:
        """The padded frames behind an item beyond which all are equal; None where there is no such number.

        Positions enter by one convolution alone, and all else that a padded frame sees is the item's own frames.
        """
        settings = self.settings
        if not self.maskable or settings.relative_position_embedding:
            return None
        return settings.conv_pos // 2

    def frames(self, samples: int) -> int:
        """The frames of a waveform alone."""
        return frames_of(samples, self.settings.conv_feature_layers)

    def valid_frames(self, samples: Sequence[int]) -> list[int]:
        """The frames of each item of a padded batch that its mask leaves."""
        if self.masking == "groups":
            return grouped_frames(samples, self.frames(max(samples)))
        return [self.frames(n) for n in samples]

    def features(self, padded: Tensor) -> Tensor:
        """Convolutions, (B, L) to (B, T, C)."""
        mult = self.feature_grad_mult
        x = padded[:, None]
        with torch.set_grad_enabled(torch.is_grad_enabled() and mult > 0):
            for layer in self.model.feature_extractor.conv_layers:
                x = called(layer, x, self.gradient_checkpointing)
        if x.requires_grad and mult != 1.0:
            x.register_hook(lambda gradient: gradient * mult)
        return x.transpose(1, 2)

    def projected(self, features: Tensor) -> Tensor:
        """Layer norm and projection, (B, T, C) to (B, T, D)."""
        output = self.model.feature_projection(features)
        return output[0] if isinstance(output, tuple) else output

    def encoded(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        """The states of the encoder without its final layer norm, layers + 1 of (B, T, D)."""
        return encoder_states(self.model.encoder, x, valid, self.settings.layer_norm_first, self.gradient_checkpointing)

    def normed(self, states: list[Tensor]) -> list[Tensor]:
        """The same with the final layer norm, where the net has one."""
        return with_final_norm(self.model.encoder, states) if self.settings.layer_norm_first else states


def padded_run(net: ConvTransformer, wavs: Sequence[Tensor], run: Run) -> list[Tensor]:
    """As published: the batch is padded, with the net's own mask."""
    samples = [len(wav) for wav in wavs]
    if _one_by_one(net, wavs):
        valid, frames = net.valid_frames(samples), net.frames(max(samples))
        reach = frames if net.padding_reach is None else net.padding_reach
        kept = [min(frames, own + reach + 1) for own in valid]
        return frozen_run(net, wavs, run, valid, kept, frames, max(samples))
    x = net.projected(net.features(pad_waves(wavs)))
    return list(run(x, valid_mask(net.valid_frames(samples), x.size(1), x.device)))


def independent_run(net: ConvTransformer, wavs: Sequence[Tensor], run: Run) -> list[Tensor]:
    """Each item as if it were alone; states are zero beyond its own frames.

    On a CPU, nothing is padded: items are computed one by one, or in training those of equal length together. Elsewhere, and where a mask
    can make the encoder blind to padding, only the convolutions that take statistics over time are computed so, and the encoder runs over
    the whole batch.
    """
    if _one_by_one(net, wavs):
        own = [net.frames(len(wav)) for wav in wavs]
        return frozen_run(net, wavs, run, own, own, max(own), None)
    if net.maskable and not wavs[0].is_cpu:
        return masked_run(net, wavs, run)
    return run_by_length(lambda batch: list(run(net.projected(net.features(batch)), None)), wavs)


def _one_by_one(net: ConvTransformer, wavs: Sequence[Tensor]) -> bool:
    """Whether the net is frozen, on a CPU, where batches bring nothing and padding costs as much as speech."""
    return wavs[0].is_cpu and not net.training and not torch.is_grad_enabled()


def frozen_run(
    net: ConvTransformer, wavs: Sequence[Tensor], run: Run, valid: Sequence[int], kept: Sequence[int], frames: int, longest: int | None
) -> list[Tensor]:
    """One waveform after the other through a frozen net on a CPU.

    Args:
        valid: the frames of each item that are no padding.
        kept: the frames of each to be computed, those of ``valid`` and padded ones behind them.
        frames: of the result; further ones are as the last one computed, or zero where that is no padded one.
        longest: samples of the padded batch as which the items are to be taken, or None for each alone.

    Returns:
        states (B, frames, D).
    """
    convolutions = FrozenConvolutions(net.model.feature_extractor.conv_layers, net.settings.conv_feature_layers, longest)
    joined: list[Tensor] = []
    with parametrize.cached():  # a weight norm is computed once, not for each item
        for index, (wav, own, width) in enumerate(zip(wavs, valid, kept, strict=True)):
            x = F.pad(net.projected(convolutions(wav, own)[None]), (0, 0, 0, width - own))
            states = run(x, valid_mask([own], width, x.device))
            joined = joined or [state.new_zeros(len(wavs), frames, *state.shape[2:]) for state in states]
            for whole, state in zip(joined, states, strict=True):
                whole[index, :width] = state[0]
                if width > own:
                    whole[index, width:] = state[0, -1]
    return joined


def masked_run(net: ConvTransformer, wavs: Sequence[Tensor], run: Run) -> list[Tensor]:
    """The same by means of a mask; for maskable nets."""
    over_time = net.settings.extractor_mode == "default"  # its first group norm takes statistics over time
    features = run_by_length(net.features, wavs) if over_time else net.features(pad_waves(wavs))
    valid = valid_mask([net.frames(len(wav)) for wav in wavs], features.size(1), features.device)
    return [without_padding(state, valid) for state in run(net.projected(features), valid)]
