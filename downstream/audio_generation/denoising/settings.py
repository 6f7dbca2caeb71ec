"""The sections of ``downstream_expert`` where the network is DiffWave, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from utility.errors import ConfigError
from utility.training.fields import Count, CountFromZero, Limits, check_fields, check_options, check_sections, keywords_of, made_of

from ..data.corpora import Corpus
from ..models.diffusion import Schedule, linear, short
from ..models.mel import Mel
from ..settings import OF_CORPUS, SOURCE

SECTIONS = ("datarc", "modelrc", "diffusion", "generate", "mel")
BATCH = {"cpu": 16, "cuda": 128}


@dataclass(frozen=True)
class Reading:
    """The fields of ``datarc`` beside those of :class:`Corpus`.

    Args:
        batch_size: items, in training.
        eval_batch_size: items, in evaluations; None: ``batch_size``.
        num_workers: processes that read ahead.
    """

    batch_size: Count = 32
    eval_batch_size: Count | None = None
    num_workers: CountFromZero = 0


@dataclass(frozen=True)
class Noise:
    """The section ``diffusion``.

    Args:
        T: steps of the training.
        beta_0, beta_T: the noise of the first and of the last.
        beta: the noise of each step of a shorter schedule, which waveforms are drawn with; None: all steps of the training.
    """

    T: Count = 200
    beta_0: float = 1e-4
    beta_T: float = 0.02  # noqa: N815, as in the public configs
    beta: Sequence[float] | None = None

    @property
    def trained(self) -> Schedule:
        """The schedule of the training."""
        return linear(self.T, self.beta_0, self.beta_T)

    @property
    def drawn(self) -> Schedule:
        """The schedule that waveforms are drawn with."""
        return self.trained if self.beta is None else short(self.trained, self.beta)


@dataclass(frozen=True)
class Drawing:
    """The section ``generate``.

    Args:
        n_samples: waveforms; with ``mel_from``, how many of its recordings at most (the first).
        n_batch: drawn at once; None: 16 on a CPU, 128 on a GPU. What is drawn does not depend on it.
        l_sample: samples of each; None: ``datarc.sample_len``.
        seed: of the drawing; None: the experiment's.
        save_dir: the folder of the files; None: ``samples/`` in that of the results.
        mel_from: a recording, or a folder of them, whose mel spectrograms a vocoder speaks again.
    """

    n_samples: Count = 16
    n_batch: Count | None = None
    l_sample: Count | None = None
    seed: CountFromZero | None = None
    save_dir: str | None = None
    mel_from: str | None = None

    def batch(self, device: str) -> int:
        """Waveforms drawn at once."""
        return min(self.n_samples, self.n_batch or BATCH.get(device.partition(":")[0], BATCH["cpu"]))


@dataclass(frozen=True)
class DenoisingSettings:
    """Everything of ``downstream_expert``.

    Args:
        corpus, reading: ``datarc``.
        model: ``modelrc``, which :func:`..models.diffwave.build_diffwave` checks.
        noise, generate, mel: the sections ``diffusion``, ``generate`` and ``mel``.
        ema: decay of the moving average of the weights that is evaluated and draws; None: the weights themselves.
    """

    corpus: Corpus
    reading: Reading
    model: Mapping[str, Any]
    noise: Noise = field(default_factory=Noise)
    generate: Drawing = field(default_factory=Drawing)
    mel: Mel = field(default_factory=Mel)
    ema: Annotated[float, Limits(least=0, most=1)] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> DenoisingSettings:
        """From ``downstream_expert``.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist, are missing or impossible.
        """
        check_fields(config, (*SECTIONS, "ema"), ("datarc", "modelrc"), source=SOURCE)
        check_sections(config, SECTIONS, source=SOURCE, null=("diffusion", "generate", "mel"))
        rest = {name: config[name] for name in ("ema",) if name in config}
        check_options(cls, rest, source=SOURCE)
        data = config["datarc"]
        check_fields(data, (*OF_CORPUS, *keywords_of(Reading)), ("_name_", "path"), source=f"{SOURCE}.datarc")
        corpus = Corpus.of({name: value for name, value in data.items() if name in OF_CORPUS}, f"{SOURCE}.datarc")
        reading = _section(Reading, {name: value for name, value in data.items() if name not in OF_CORPUS}, "datarc")
        noise = _section(Noise, config.get("diffusion"), "diffusion")
        mel = _section(Mel, {"sample_rate": corpus.sample_rate, **(config.get("mel") or {})}, "mel")
        if not noise.trained or not noise.drawn:
            raise ConfigError("there are no steps", f"{SOURCE}.diffusion")
        return cls(corpus, reading, config["modelrc"], noise, _section(Drawing, config.get("generate"), "generate"), mel, **rest)


def _section(kind: type, fields: Mapping[str, Any] | None, name: str) -> Any:
    return made_of(kind, fields or {}, source=f"{SOURCE}.{name}")
