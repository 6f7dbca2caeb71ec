"""Speaker diarization on two-speaker mixtures (SUPERB's SD): who speaks when, by an LSTM under the order of speakers that fits best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.convolution import Convolution
from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, UnknownNameError
from utility.metrics.diarization_tuning import Setting, best, scored_grid
from utility.training.fields import check_counts, check_fields, check_flags, check_options, check_sections, keywords_of

from .dataset import DiarizationDataset, Framing
from .kaldi import Recording, read_kaldi_folder
from .model import Model
from .pit import count_frames, pit_loss
from .predictions import PREDICTION_FORMATS, stacked, write_scoring
from .windows import joined, turns_with_times, windows

TASK = Path(__file__).resolve().parent.name
DATARC = ("chunk_size", "frame_shift", "subsampling", "label_delay", "num_speakers", "rate", "num_workers", "published", "allow_pipes")
LOADERRC = ("num_workers", "train_batchsize", "eval_batchsize", "train_dir", "dev_dir", "test_dir")
SECTIONS = ("datarc", "loaderrc", "modelrc", "scorerc")
MOST_SPEAKERS = 6


class DownstreamExpert(CorpusTask):
    """LSTM and linear layer with one output per speaker; checkpoints are chosen by frame accuracy, results are diarization error rates.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc``, ``loaderrc``, ``modelrc`` and, if wanted, ``scorerc`` as in config.yaml.
        expdir: the experiment folder; its file ``frame_shift`` says how many samples a frame of the predictions has.
    """

    length_rule = "own"  # padding must not count: probabilities would depend on their batch
    task_version = 3  # 2: frames of padding are no longer heard; 3: recordings of less than a frame count
    evaluation_memory = ("best_score", "chosen")
    splits = ("train", "dev", "test")
    datarc_source = f"{SOURCE}.loaderrc"

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        _check(downstream_expert)
        data = _without_nulls(downstream_expert["datarc"])
        self.datarc = downstream_expert["loaderrc"]
        self.pipes, self.workers = data.get("allow_pipes", False), data.get("num_workers", self.datarc.get("num_workers", 0))
        self.format = (downstream_expert.get("scorerc") or {}).get("predictions", "npy")
        self.upstream_rate, self.sample_rate = upstream_rate, data.get("rate", 16000)
        shift = (data.get("frame_shift") or upstream_rate) * data.get("subsampling", 1)
        self.framing = Framing(self.sample_rate, shift, data["chunk_size"], data.get("num_speakers", 2), data.get("published", False))
        if self.framing.published:
            self.length_rule = "round"
        self.model = Model(upstream_dim, self.framing.speakers, **downstream_expert["modelrc"])
        self.register_buffer("best_score", torch.zeros(1))
        self.chosen: Setting | None = None
        self.register_load_state_dict_pre_hook(_accept_without_choice)
        self._training = kwargs.get("mode") == "train"
        if kwargs.get("mode") != "inference":
            self._note_frame_shift()
        self.read_ahead()

    def _note_frame_shift(self) -> None:
        """S3PRL's file beside the checkpoints, which scoring programs read."""
        self.results_dir.mkdir(parents=True, exist_ok=True)
        (self.results_dir / "frame_shift").write_text(f"{self.framing.shift}\n")

    def get_extra_state(self) -> dict[str, Any]:
        """How probabilities become turns, as it was chosen on dev at the best checkpoint."""
        return {"chosen": asdict(self.chosen) if self.chosen else None}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes the choice from a checkpoint."""
        self.chosen = Setting(**state["chosen"]) if state["chosen"] else None

    def read_corpus(self, split: str) -> list[Recording]:
        """The recordings of a split.

        Raises:
            ConfigError: the config does not name its folder.
            DataError: the folder is not what it should be.
        """
        (folder,) = self.needed(f"{split}_dir")
        return read_kaldi_folder(folder, f"{self.datarc_source}.{split}_dir", self.pipes, self.framing.speakers)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels, places)``: chunks in random order (train), chunks in order (dev), or all of a recording's (test)."""
        training = split == self.train_split
        return DataLoader(
            DiarizationDataset(self.corpus_of(split), self.framing, whole=split == "test" and not training),
            batch_size=self.datarc["train_batchsize" if training else "eval_batchsize"],
            shuffle=training,
            num_workers=self.workers,
            collate_fn=DiarizationDataset.collate_fn,
        )

    def logits(self, features: list[Tensor], frames: list[int]) -> Tensor:
        """List of (T_i, D), and how many frames of labels each has -> (B, max(frames), speakers)."""
        return self.model(features, frames, self.upstream_rate, self.framing.shift, self.framing.published)

    def forward(
        self,
        split: str,
        features: list[Tensor],
        labels: list[Tensor],
        places: list[tuple[str, int]],
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """The loss of a batch; records it with accuracy and error rate of its frames and, when evaluating, the probabilities.

        Args:
            features: list of (T_i, D).
            labels: list of (frames_i, speakers).
            places: recording, and first frame, of each chunk.
            records: lists to grow.
        """
        frames = [len(own) for own in labels]
        logits = self.logits(features, frames)
        truth = pad_sequence(list(labels), batch_first=True).to(logits.device, logits.dtype)
        lengths = torch.tensor(frames, device=logits.device)
        loss, ordered = pit_loss(logits.float(), truth.float(), lengths)
        counts = count_frames(logits, ordered, lengths)
        records["loss"].append(loss.item())
        records["acc"].append(counts.accuracy)
        records["der"].append(counts.der)
        if split != self.train_split:
            kept = [max(frames)] * len(frames) if self.framing.published else frames
            probabilities = logits.detach().float().sigmoid().cpu().numpy()
            records["probabilities"] += [own[:count] for own, count in zip(probabilities, kept, strict=True)]
            records["places"] += places
        return loss

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs frame accuracy and frame error rate; the best accuracy on dev gives ``best-states-dev.ckpt``, with its choice of threshold.

        Evaluation, and the test split at any time, writes the predictions and gives the error rates of :mod:`utility.metrics.diarization`.
        """
        means = {name: float(np.mean(np.array(records[name], np.float32))) for name in ("acc", "der", "loss")}
        for name in ("acc", "der"):
            logger.add_scalar(f"{TASK}/{split}-{name}", means[name], global_step=global_step)
        print(f"mode {split} acc {means['acc']} der {means['der']}")
        scores = {
            "acc": Score(means["acc"], higher_is_better=True),
            "frame_der": Score(means["der"], higher_is_better=False),
            "loss": Score(means["loss"], higher_is_better=False, unit="nats"),
        }
        improved = split == "dev" and bool(torch.tensor(means["acc"]) > self.best_score.cpu())
        if improved:
            self.best_score.fill_(means["acc"])
        writing = split == "test" or (split != self.train_split and not self._training)
        if records["probabilities"] and (writing or improved):
            scores |= self._turns(split, stacked(records["places"], records["probabilities"]), improved and self._training, writing)
        return Outcome(save_names=["best-states-dev.ckpt"] if improved else [], scores=scores)

    def _turns(self, split: str, probabilities: dict[str, np.ndarray], choose: bool, write: bool) -> dict[str, Score]:
        """Error rates of turns: with the setting chosen on dev, and with the best one of this split, as S3PRL reports it.

        What is said in recordings of less than a frame, which have no probabilities, is missed; other recordings may be without them where
        only a part is evaluated, and do not count.
        """
        counting = (own for own in self.corpus_of(split) if own.name in probabilities or not self.framing.frames_in(own))
        references = {recording.name: recording.by_speaker for recording in counting}
        ranked = scored_grid(probabilities, references, self.framing.shift / self.framing.rate)
        if choose:
            self.chosen = best(ranked)
        if write:
            write_scoring(self.results_dir, split, probabilities, self.framing, self.chosen, self.format)
        rates = {"der_best": min(score.der for score in ranked.values())}
        used = self.chosen or Setting()
        rates["der"] = ranked[used].der if used in ranked else np.nan
        return {name: Score(rate, higher_is_better=False) for name, rate in rates.items() if np.isfinite(rate)}

    def pieces(self, wav: Tensor) -> list[Tensor]:
        """A long recording as chunks that overlap by half, so that the speakers of one can be found again in the next."""
        size, step = (frames * self.framing.shift for frames in (self.framing.chunk, self._step))
        return [wav[start:end] for start, end in windows(len(wav), size, step)]

    @property
    def _step(self) -> int:
        """Frames from one piece to the next."""
        return max(1, self.framing.chunk // 2)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The turns of one recording in seconds; ``features`` has one item for each of :meth:`pieces`.

        Speakers are called by the order in which they begin.
        """
        size, shift = self.framing.chunk, self.framing.shift
        frames = [size] * (len(features) - 1) + [min(size, max(1, round(len(features[-1]) * self.upstream_rate / shift)))]
        outputs = [
            self.logits([feature], [count])[0].float().sigmoid().cpu().numpy() for feature, count in zip(features, frames, strict=True)
        ]
        setting = self.chosen or Setting()
        turns = turns_with_times(joined(outputs, self._step), setting, shift / self.framing.rate)
        return [{"file": names[0], "turns": turns, "speakers": len({turn["speaker"] for turn in turns}), **asdict(setting)}]


def _check(given: Mapping[str, Any]) -> None:
    """Refuses configs that cannot be meant."""
    check_fields(given, SECTIONS, ("datarc", "loaderrc", "modelrc"), source=SOURCE)
    check_sections(given, SECTIONS, source=SOURCE, null=("scorerc",))
    check_fields(given["datarc"], DATARC, source=f"{SOURCE}.datarc")
    data, loader, model, scorer = _without_nulls(given["datarc"]), given["loaderrc"], given["modelrc"], given.get("scorerc") or {}
    check_fields(data, DATARC, ("chunk_size",), source=f"{SOURCE}.datarc")
    check_fields(loader, LOADERRC, ("train_batchsize", "eval_batchsize"), source=f"{SOURCE}.loaderrc")
    check_fields(model, keywords_of(Model, besides=("input_dim", "speakers")), source=f"{SOURCE}.modelrc")
    check_fields(scorer, ("predictions", "save_predictions"), source=f"{SOURCE}.scorerc")
    least = {"chunk_size": 1, "frame_shift": 1, "subsampling": 1, "label_delay": 0, "num_speakers": 1, "rate": 1000, "num_workers": 0}
    check_counts(data, least, source=f"{SOURCE}.datarc")
    check_counts(loader, {"train_batchsize": 1, "eval_batchsize": 1, "num_workers": 0}, source=f"{SOURCE}.loaderrc")
    check_options(Model, model, source=f"{SOURCE}.modelrc")
    _check_convolution(model.get("convolution") or {}, f"{SOURCE}.modelrc.convolution")
    check_flags(data, ("published", "allow_pipes"), source=f"{SOURCE}.datarc")
    if data.get("label_delay"):
        raise ConfigError(f"label_delay must be 0, not {data['label_delay']}: no model here answers late", f"{SOURCE}.datarc")
    if data.get("num_speakers", 2) > MOST_SPEAKERS:
        raise ConfigError(f"num_speakers must be {MOST_SPEAKERS} at most, not {data['num_speakers']}", f"{SOURCE}.datarc")
    if (kind := scorer.get("predictions", "npy")) not in PREDICTION_FORMATS:
        raise UnknownNameError("format of scorerc.predictions", str(kind), PREDICTION_FORMATS)


def _without_nulls(section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value; the others have their defaults."""
    return {name: value for name, value in section.items() if value is not None}


def _check_convolution(given: Mapping[str, Any], source: str) -> None:
    check_fields(given, {"projector_dim", *keywords_of(Convolution, besides=("input_dim", "output_dim"))}, source=source)
    check_counts(given, {"projector_dim": 1}, source=source)
    check_options(Convolution, given, source=source)


def _accept_without_choice(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """S3PRL's checkpoints do not know a choice of threshold."""
    state.setdefault(f"{prefix}_extra_state", {"chosen": None})
