"""What is known about an upstream before it is built: plain data, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class UpstreamRecord:
    """The card of an upstream.

    Args:
        name: the entry's name.
        downsample_rate: samples per frame; 0 where it depends on the config.
        hidden_sizes: widths of the hidden states in order; empty where they depend on the config.
        sample_rate: rate in Hz of the waveforms that it was made for; 0 if it takes any.
        licence: of the weights, or of the code where there are none.
        source: where the weights or the recipe come from.
        paper: the reference.
        description: one sentence.
    """

    name: str
    downsample_rate: int = 0
    hidden_sizes: tuple[int, ...] = ()
    sample_rate: int = 16000
    licence: str = ""
    source: str = ""
    paper: str = ""
    description: str = ""


RECORD_FIELDS = tuple(f.name for f in fields(UpstreamRecord) if f.name != "name")
