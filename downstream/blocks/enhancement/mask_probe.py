"""Speech enhancement on features of any upstream: a mask of the noisy spectrum, PESQ, STOI and SI-SDR (SUPERB-SG's SE; specs 8).

A task derives from :class:`MaskProbe` and says which recipe it follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from downstream.blocks.ark import free_key
from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.enhancement import mask_targets, voicebank
from downstream.blocks.enhancement.dataset import load_pair, pair_loader
from downstream.blocks.enhancement.mask_network import ACTIVATIONS, RNNS, MaskNetwork, with_frames
from downstream.blocks.enhancement.pairs import PairedFiles
from downstream.blocks.enhancement.recordings import Asked, Opened
from downstream.blocks.enhancement.scoring import keep, measure
from downstream.interfaces import Outcome, Score
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError, UsageError
from utility.experiment.texts import write_text
from utility.metrics.enhancement import HIGHER_IS_BETTER, UNITS, score_pair
from utility.metrics.enhancement.pair import require
from utility.training.fields import (
    check_counts,
    check_fields,
    check_flags,
    check_name,
    check_options,
    check_sections,
    check_texts,
    keywords_of,
)

RATE = 16000
PLACES = ("root_folder", "data_dir")
LEAST = {"train_batch_size": 1, "eval_batch_size": 1, "num_workers": 0}
METRICS = {"si_sdr": "si-sdr", "stoi": "stoi", "pesq": "pesq"}  # S3PRL's names -> ours
BEST = "best-states-dev.ckpt"


class MaskProbe(CorpusTask):
    """Masks the spectrum of noisy speech; the best checkpoint is the one of the highest PESQ on ``dev``.

    Args:
        upstream_dim, upstream_rate: width of the features, and samples per frame.
        downstream_expert: ``datarc``, ``modelrc`` and ``targetrc`` as in config.yaml.
        expdir: the experiment folder.

    Attributes:
        task: what scores are logged under.
        win_length: of the transform, whose ``n_fft`` is 512.
        hop_length: of the transform; None: the upstream's rate.
        options: the fields of ``targetrc`` beside ``mask_type``.
    """

    sample_rate = RATE
    splits = voicebank.SPLITS
    evaluation_memory = ("best",)
    task = ""
    win_length = 512
    hop_length: int | None = None
    options: tuple[str, ...] = ()
    default_mask = "NPSM"

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        check_sections(downstream_expert, ("datarc", "modelrc", "targetrc"), ("datarc",), source=SOURCE, null=("modelrc", "targetrc"))
        self.datarc = downstream_expert["datarc"]
        self._check_data()
        self.targetrc = dict(downstream_expert.get("targetrc") or {})
        check_fields(self.targetrc, ("mask_type", "metrics", *self.options), source=f"{SOURCE}.targetrc")
        check_flags(self.targetrc, self.options, source=f"{SOURCE}.targetrc")
        mask_type = self.targetrc.get("mask_type", self.default_mask)
        check_name(f"{SOURCE}.targetrc.mask_type", mask_type, mask_targets.TARGETS)
        self.target = mask_targets.TARGETS[mask_type]
        self.metrics = self._metrics(kwargs.get("mode"))
        hop = self.hop_length or upstream_rate
        self.repeats = self._repeats(upstream_rate, hop)
        self.stft = Stft(StftOptions(RATE, 512, hop, self.win_length))
        self.model = self._network(upstream_dim, dict(downstream_expert.get("modelrc") or {}))
        self.register_buffer("best", torch.tensor(-torch.inf))
        self._asked = Asked()
        self._written: set[str] = set()
        self.read_ahead()

    def loss(self, mask: Tensor, noisy: Tensor, clean: Tensor) -> Tensor:
        """The loss of one utterance; all are (T, F)."""
        raise NotImplementedError

    def estimate(self, mask: Tensor, noisy: Tensor) -> Tensor:
        """The enhanced (T, F) spectrum."""
        raise NotImplementedError

    def finished(self, wave: Tensor) -> Tensor:
        """What is done to an enhanced (N,) waveform last."""
        return wave

    # ---- settings

    def _check_data(self) -> None:
        source = f"{SOURCE}.datarc"
        check_fields(self.datarc, (*PLACES, *LEAST), ("train_batch_size", "eval_batch_size"), source=source)
        check_counts(self.datarc, LEAST, source=source)
        check_texts(self.datarc, [name for name in PLACES if self.datarc.get(name) is not None], source=source)

    def _metrics(self, mode: str | None) -> dict[str, str]:
        """S3PRL's names -> ours, of what is measured."""
        wanted = self.targetrc.get("metrics") or list(METRICS)
        if not isinstance(wanted, list) or not wanted:
            raise ConfigError(f"metrics must be a list of names, not {wanted!r}", f"{SOURCE}.targetrc")
        for name in wanted:
            check_name(f"metric in {SOURCE}.targetrc.metrics", name, METRICS)
        chosen = {name: METRICS[name] for name in METRICS if name in wanted}
        if mode in ("train", "evaluate"):
            require(list(chosen.values()))
        return chosen

    def _repeats(self, upstream_rate: int, hop: int) -> int:
        """How often a frame of features comes for the frames of the spectrum."""
        if upstream_rate % hop or upstream_rate >= self.win_length:
            fits = f"{hop} or {2 * hop}" if self.hop_length else f"below {self.win_length}"
            raise UsageError(f"the upstream has a frame every {upstream_rate} samples, and this task needs {fits}")
        return upstream_rate // hop

    def _network(self, upstream_dim: int, given: dict[str, Any]) -> nn.Module:
        source = f"{SOURCE}.modelrc"
        given.pop("model", None)  # S3PRL's name of the only one, SepRNN
        check_fields(given, keywords_of(MaskNetwork, besides=("input_dim", "bins")), source=source)
        check_options(MaskNetwork, given, source=source)
        check_name(f"{source}.rnn", given.get("rnn", "lstm"), RNNS)
        check_name(f"{source}.non_linear", given.get("non_linear", "relu"), ACTIVATIONS)
        return MaskNetwork(upstream_dim, self.stft.options.bins, **given)

    # ---- data

    def read_corpus(self, split: str) -> list[PairedFiles]:
        """The recordings of a split, by lists or by folders.

        Raises:
            ConfigError: neither is named.
            DataError: they are missing or do not pair.
        """
        if self.datarc.get("data_dir"):
            return voicebank.of_lists(self.datarc["data_dir"], split)
        if self.datarc.get("root_folder"):
            return voicebank.of_folders(self.datarc["root_folder"], split)
        raise ConfigError("root_folder (or data_dir) must say where the corpus lies", f"{SOURCE}.datarc")

    def load(self, pair: PairedFiles) -> tuple[Tensor, Tensor]:
        """(noisy, clean) waveforms of a pair."""
        return load_pair(pair, RATE, self.win_length)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, noisy, clean, names)``."""
        learns = split == self.train_split and self.training
        return pair_loader(
            self.corpus_of(split),
            RATE,
            batch_size=self.datarc["train_batch_size" if learns else "eval_batch_size"],
            num_workers=self.datarc.get("num_workers", 0),
            shuffle=learns,
            least_samples=self.win_length,
        )

    # ---- training and evaluation

    def forward(
        self,
        split: str,
        features: list[Tensor],
        noisy: list[Tensor],
        clean: list[Tensor],
        names: list[str],
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """The mean of the utterances' losses; in evaluation the enhanced waveforms are recorded beside the others.

        Args:
            features: list of (T_i, D).
            noisy, clean: lists of (N_i,).
            names: of the recordings.
            records: lists to grow.
        """
        spectra = [[self._spectrum(wave) for wave in side] for side in (noisy, clean)]
        masks = self.model([with_frames(f, len(s), self.repeats) for f, s in zip(features, spectra[0], strict=True)])
        loss = torch.stack([self.loss(*each) for each in zip(masks, *spectra, strict=True)]).mean()
        records["loss"].append(loss.item())
        if not self.training:
            triples = zip(masks, spectra[0], noisy, strict=True)
            enhanced = [self._wave(mask, spectrum, len(wave)) for mask, spectrum, wave in triples]
            keep(records, names, noisy=noisy, clean=clean, enhanced=enhanced)
        return loss

    def _spectrum(self, wave: Tensor) -> Tensor:
        """(N,) -> (T, F)."""
        return self.stft.spectrum(wave.to(self.stft.window.device)).T

    def _wave(self, mask: Tensor, spectrum: Tensor, length: int) -> Tensor:
        return self.finished(self.stft.waves(self.estimate(mask.float(), spectrum).T, length))

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Training: the loss. Evaluation: the metrics, of which SI-SDR is the improvement over the noisy recording."""
        loss = sum(records["loss"]) / len(records["loss"])
        logger.add_scalar(f"{self.task}/{split}-loss", loss, global_step=global_step)
        if "enhanced" not in records:
            return Outcome()
        summary = measure(records, RATE, list(self.metrics.values()), self.results_dir / f"{split}-metrics.csv")
        means = {name: summary[ours].mean for name, ours in self.metrics.items()}
        if "si_sdr" in means:
            means["si_sdr"] -= _before(records)
        scores = {name: Score(mean, HIGHER_IS_BETTER[self.metrics[name]], UNITS[self.metrics[name]]) for name, mean in means.items()}
        for name, mean in means.items():
            logger.add_scalar(f"{self.task}/{split}-{name}", mean, global_step=global_step)
        write_text(self.results_dir / f"{split}_metrics.txt", "".join(f"{name} {mean}\n" for name, mean in means.items()))
        chief = means.get("pesq", next(iter(means.values())))
        improved = split == "dev" and chief > self.best
        if improved:
            self.best.fill_(chief)
        return Outcome(save_names=[BEST] if improved else [], scores=scores | {"loss": Score(loss, False, "loss")})

    # ---- use

    def load_audio(self, path: str) -> Tensor:
        """Keeps a user's recording with all its channels, which are the pieces that go through the upstream."""
        self._asked.open(Opened.of(path))
        return torch.zeros(0)

    def pieces(self, wav: Tensor) -> list[Tensor]:
        """Each channel goes through the upstream by itself."""
        return self._asked.take(wav, RATE).channels(RATE)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """Writes the enhanced recording into ``enhanced/`` of the results, at its own rate and with its own channels."""
        opened, key, channels = self._asked.recording, free_key(names[0], self._written), []
        for found, wave in zip(features, opened.channels(RATE), strict=True):
            spectrum = self._spectrum(wave)
            (mask,) = self.model([with_frames(found, len(spectrum), self.repeats)])
            channels.append(self._wave(mask, spectrum, len(wave)))
        answer = opened.write(opened.restored(channels, RATE), self.results_dir / "enhanced" / f"{key}.wav", picture=False)
        self._written.add(key)
        return [answer]


def _before(records: Mapping[str, list]) -> float:
    """Mean SI-SDR of the noisy recordings, in dB."""
    pairs = zip(records["clean"], records["noisy"], strict=True)
    found = [score_pair(clean, noisy, RATE, ["si-sdr"])["si-sdr"] for clean, noisy in pairs]
    return sum(found) / len(found)
