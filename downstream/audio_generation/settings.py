"""The sections of ``downstream_expert``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from utility.errors import ConfigError
from utility.training.fields import (
    Count,
    CountFromZero,
    Limits,
    NotNegative,
    check_fields,
    check_name,
    check_options,
    check_sections,
    keywords_of,
    made_of,
)

from .data.chunks import Chunking
from .data.corpora import Corpus
from .generation.options import Options
from .quantise import KINDS, Quantiser

SOURCE = "config.downstream_expert"
SECTIONS = ("datarc", "modelrc", "tbptt", "generate")
OF_CORPUS = tuple("_name_" if one.name == "name" else one.name for one in fields(Corpus))


@dataclass(frozen=True)
class Reading:
    """The fields of ``datarc`` that say how recordings become batches; what is read is in :class:`Corpus`.

    Args:
        quantization: ``mu-law`` or ``linear``.
        bits: of a code.
        pad_len: zero tokens before the first code; None: as many as the network needs.
        context_len: codes at the beginning of each item that are read and not scored.
        batch_size: items, in training.
        eval_batch_size: items, in evaluations; None: ``batch_size``.
        num_workers: processes that read ahead.
    """

    quantization: str = "mu-law"
    bits: Annotated[int, Limits(least=1, most=16)] = 8
    pad_len: CountFromZero | None = None
    context_len: CountFromZero | None = None
    batch_size: Count = 32
    eval_batch_size: Count | None = None
    num_workers: CountFromZero = 0


@dataclass(frozen=True)
class Settings:
    """Everything of ``downstream_expert``.

    Args:
        corpus, reading: ``datarc``.
        model: ``modelrc``, which :func:`.models.build.build` checks.
        generate: the section of that name.
        tbptt: the section of that name; None: each item is one sequence, learnt from as a whole.
        ema: decay of the moving average of the weights that is evaluated and generates; None: the weights themselves.
        clip_value: largest absolute value of each number of the gradient; None: any.
    """

    corpus: Corpus
    reading: Reading
    model: Mapping[str, Any]
    generate: Options = field(default_factory=Options)
    tbptt: Chunking | None = None
    ema: Annotated[float, Limits(least=0, most=1)] | None = None
    clip_value: NotNegative | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """From ``downstream_expert``.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist, are missing or impossible.
        """
        check_fields(config, (*SECTIONS, "ema", "clip_value"), ("datarc", "modelrc"), source=SOURCE)
        check_sections(config, SECTIONS, source=SOURCE, null=("tbptt", "generate"))
        rest = {name: config[name] for name in ("ema", "clip_value") if name in config}
        check_options(cls, rest, source=SOURCE)
        corpus, reading = _data(config["datarc"])
        generate, longest = Options.of(config.get("generate")), corpus.sample_len + 1
        if generate.l_prefix > longest:
            raise ConfigError(f"l_prefix must be at most datarc.sample_len + 1, {longest}, not {generate.l_prefix}", f"{SOURCE}.generate")
        return cls(corpus, reading, config["modelrc"], generate, _chunking(config.get("tbptt"), corpus), **rest)

    @property
    def quantiser(self) -> Quantiser:
        """Waveforms to codes."""
        return Quantiser(self.reading.quantization, self.reading.bits)


def _data(section: Mapping[str, Any]) -> tuple[Corpus, Reading]:
    source = f"{SOURCE}.datarc"
    check_fields(section, (*OF_CORPUS, *keywords_of(Reading)), ("_name_", "path"), source=source)
    reading = {name: value for name, value in section.items() if name not in OF_CORPUS}
    made = made_of(Reading, reading, source=source)
    check_name(f"quantization in {source}.quantization", made.quantization, KINDS)
    corpus = Corpus.of({name: value for name, value in section.items() if name in OF_CORPUS}, source)
    if (made.context_len or 0) >= corpus.sample_len:
        raise ConfigError(f"context_len must be below sample_len, {corpus.sample_len}, not {made.context_len}: nothing is scored", source)
    return corpus, made


def _chunking(section: Mapping[str, Any] | None, corpus: Corpus) -> Chunking | None:
    if section is None:
        return None
    source = f"{SOURCE}.tbptt"
    chunking = made_of(Chunking, section, source=source)
    if chunking.chunk_len > corpus.sample_len:
        raise ConfigError(f"chunk_len must be at most datarc.sample_len, {corpus.sample_len}, not {chunking.chunk_len}", source)
    return chunking
