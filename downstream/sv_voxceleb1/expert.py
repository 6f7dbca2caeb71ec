"""Speaker verification on VoxCeleb1: do two recordings come from one speaker? (SUPERB's ASV)"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.score_log import log_score
from downstream.blocks.speaker_losses import LOSSES
from downstream.blocks.xvector import SpeakerModel
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment.texts import write_text
from utility.metrics.verification import Verification, verification_scores
from utility.training.fields import check_fields

from .audio import CACHE, SAMPLE_RATE, read
from .dataset import TrainingDataset, TrainingSet, TrialDataset, Trials, collate, training_set, trials_of
from .scoring import cosine_scores
from .settings import LISTS, checked_data, checked_model, checked_threshold

log = logging.getLogger(__name__)

TAG = "sv-voxceleb1"
_MARGIN_FRAMES = 4  # what some upstreams give less than samples / rate


class DownstreamExpert(CorpusTask):
    """X-vectors trained to classify the training speakers and compared by their cosine; the metrics are EER and minDCF.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc``, ``modelrc`` and ``threshold`` as in config.yaml.
        expdir: the experiment folder.
    """

    sample_rate = SAMPLE_RATE
    length_rule = "own"  # padding must not count: a score would depend on its batch
    task_version = 2  # frames of padding are no longer heard
    evaluation_memory = ("best_score", "threshold")
    splits = ("train", "dev", "test")
    inference_inputs = "pairs"

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        check_fields(downstream_expert, ("datarc", "modelrc", "threshold"), ("datarc", "modelrc"), source=SOURCE)
        self.upstream_rate, self.threshold_given = upstream_rate, checked_threshold(downstream_expert.get("threshold"))
        modelrc = self.modelrc = checked_model(downstream_expert["modelrc"])
        self.connector = nn.Linear(upstream_dim, modelrc["input_dim"])
        self.model = SpeakerModel(
            *(modelrc[name] for name in ("input_dim", "module", "agg_module", "utter_module")),
            options=modelrc.get("module_config", {}).get(modelrc["module"]),
            published=modelrc.get("published", False),
        )
        if modelrc.get("published"):
            self.length_rule = "round"  # S3PRL's frames with S3PRL's poolings
        self.datarc = checked_data(downstream_expert["datarc"], self._shortest)
        self.register_buffer("best_score", torch.full((1,), 100.0))
        self.speakers: list[str] = []
        self.threshold: float | None = None
        self.read_ahead()
        if self._needed:
            if self.train_split != "train":
                raise UnknownNameError("split to train on", self.train_split, ("train",))
            self.speakers = self.corpus_of("train").speakers
        self.objective = self._build_objective(len(self.speakers)) if self.speakers else None
        self.register_load_state_dict_pre_hook(_adapt)

    @property
    def _shortest(self) -> int:
        """So many samples give every upstream the frames that the network needs."""
        return (self.model.least_frames + _MARGIN_FRAMES) * self.upstream_rate

    def _build_objective(self, speakers: int) -> nn.Module:
        name = self.modelrc["ObjectiveLoss"]
        options = self.modelrc.get("LossConfig", {}).get(name) or {}
        return LOSSES[name](self.modelrc["input_dim"], speakers, **options).to(self.connector.weight.device)

    def get_extra_state(self) -> dict[str, Any]:
        """The speakers by index, and the score at which two errors are equally frequent on the dev trials, once that is known."""
        return {"speakers": self.speakers, "threshold": self.threshold}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Takes both from a checkpoint."""
        self.speakers, self.threshold = list(state["speakers"]), state["threshold"]

    def read_corpus(self, split: str) -> TrainingSet | Trials:
        """What is trained on, or the trials of dev or test.

        Raises:
            ConfigError: the config does not name corpus or list.
            DataError: they are missing or not what they should be.
        """
        (root,), field = self.needed("file_path"), f"{self.datarc_source}.file_path"
        if split == "train":
            without = self._held_out() if self.datarc.get("hold_out_dev") else frozenset()
            return training_set(root, self.datarc["min_sec"], self.expdir / CACHE, without, field)
        (file,) = self.needed(LISTS[split])
        return trials_of(root, split, file, (field, f"{self.datarc_source}.{LISTS[split]}"))

    def _held_out(self) -> frozenset[str]:
        return frozenset(path.partition("/")[0] for path in self.corpus_of("dev").paths)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, names, speakers)`` in random order; of dev and test ``(wavs, names, samples)``, each recording once."""
        corpus, train = self.corpus_of(split), split == "train"
        dataset = TrainingDataset(corpus, self.datarc.get("max_timestep")) if train else TrialDataset(corpus, self._shortest)
        return DataLoader(
            dataset,
            batch_size=self.datarc["train_batch_size" if train else "eval_batch_size"],
            shuffle=train,
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=collate,
        )

    def _vectors(self, features: list[Tensor], training: bool) -> Tensor:
        """List of (T_i, D), each of enough frames -> (B, input_dim): what the loss sees, or what speakers are compared by."""
        lengths = torch.tensor([len(feature) for feature in features], device=features[0].device)
        projected = self.connector(pad_sequence(features, batch_first=True))
        return (self.model if training else self.model.inference)(projected, lengths)

    def forward(
        self, split: str, features: list[Tensor], names: list[str], numbers: list[int], records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """The loss of a training batch; of dev and test the unit vector of each recording, or None where it is too short, is recorded.

        Args:
            features: list of (T_i, D).
            names: ``<speaker>-<video>-<utterance>``.
            numbers: indices of the speakers; for dev and test the samples of each recording.
            records: lists to grow.

        Raises:
            DataError: a training recording gives too few frames.
        """
        if split == "train":
            loss = self._loss(features, names, numbers)
            records["loss"].append(loss.item())
            return loss
        frames = [min(len(feature), round(samples / self.upstream_rate)) for feature, samples in zip(features, numbers, strict=True)]
        kept = [feature[:count] for feature, count in zip(features, frames, strict=True) if count >= self.model.least_frames]
        vectors = iter(F.normalize(self._vectors(kept, training=False).float(), dim=1).cpu() if kept else ())
        records["name"] += names
        records["vector"] += [next(vectors) if count >= self.model.least_frames else None for count in frames]
        return torch.zeros(())

    def _loss(self, features: list[Tensor], names: list[str], speakers: list[int]) -> Tensor:
        if self.objective is None:
            raise ConfigError("the loss of split 'train' needs a checkpoint, which knows the speakers", source="-m evaluate")
        for feature, name in zip(features, names, strict=True):
            if len(feature) < self.model.least_frames:
                raise DataError(f"{name} gives {len(feature)} frames, and the network needs {self.model.least_frames}")
        vectors = self._vectors(features, training=True)
        return self.objective(vectors, torch.as_tensor(speakers, device=vectors.device))

    def log_records(self, split: str, records: dict[str, list], logger: Any, global_step: int, **kwargs: Any) -> Outcome:
        """Logs the loss; or scores the trials, writes the prediction files and logs the errors. A lower dev EER gives ``dev-best.ckpt``.

        Raises:
            DataError: too few recordings are long enough for trials of both kinds.
        """
        if split == "train":
            loss = sum(records["loss"]) / len(records["loss"])
            print(f"{TAG}/{split}-loss: {loss}")
            logger.add_scalar(f"{TAG}/{split}-loss", loss, global_step=global_step)
            return Outcome(scores={"loss": Score(loss, higher_is_better=False, unit="nats")})
        found = self._verify(split, records["vector"])
        print(f"{TAG}/{split}-EER: {found.eer}")
        for name, value in (("EER", found.eer), ("minDCF", found.min_dcf), ("threshold", found.threshold)):
            logger.add_scalar(f"{TAG}/{split}-{name}", value, global_step=global_step)
        best = split == "dev" and found.eer < self.best_score.item()
        if split == "dev":
            self.threshold = found.threshold if math.isfinite(found.threshold) else None
        if best:
            self.best_score.fill_(found.eer)
        log_score(self.results_dir, split, global_step, found.eer, best)
        scores = {"EER": Score(found.eer, higher_is_better=False), "minDCF": Score(found.min_dcf, higher_is_better=False)}
        return Outcome(save_names=["dev-best.ckpt"] if best else [], scores=scores)

    def _verify(self, split: str, vectors: list[Tensor | None]) -> Verification:
        """Scores all trials whose recordings are long enough, writes them, and measures the errors."""
        trials, width = self.corpus_of(split), self.modelrc["input_dim"]
        vectors = vectors + [None] * (len(trials.paths) - len(vectors))  # where only a part is evaluated
        there = np.array([vector is not None for vector in vectors])
        kept = there[trials.first] & there[trials.second]
        if not kept.all():
            what = f"were not evaluated, or have less than {self.model.least_frames} frames beside their silences"
            log.warning(
                "%s: %d of %d recordings %s; the %d trials with them are left out", split, (~there).sum(), len(there), what, (~kept).sum()
            )
        table = torch.stack([torch.zeros(width) if vector is None else vector for vector in vectors])
        scores = cosine_scores(table.numpy(), trials.first[kept], trials.second[kept])
        names = [name for name, used in zip(trials.pair_names, kept, strict=True) if used]
        self.results_dir.mkdir(parents=True, exist_ok=True)
        self._write(f"{split}_predict.txt", names, scores.tolist())
        self._write(f"{split}_truth.txt", names, trials.targets[kept].astype(int).tolist())
        return verification_scores(trials.targets[kept], scores)

    def _write(self, file: str, names: list[str], values: list[Any]) -> None:
        lines = (f"{name} {value}\n" for name, value in zip(names, values, strict=True))
        write_text(self.results_dir / file, "".join(lines))  # anew: report.sh makes a link of one of them

    def after_save(self, path: Path, global_step: int) -> None:
        """Brings the lengths back where a fresh run has put those of an earlier run aside."""
        cache = self.expdir / CACHE
        earlier = sorted(self.expdir.glob(f"previous-*/{CACHE}"), key=lambda file: file.stat().st_mtime)
        if earlier and not cache.exists():
            shutil.copyfile(earlier[-1], cache)

    def load_audio(self, path: str) -> Tensor:
        """A user's recording, prepared as the corpus is.

        Raises:
            DataError: it cannot be read, or is too short beside its silences.
        """
        wav = read(path)
        if len(wav) < self._shortest:
            has, needs = len(wav) / SAMPLE_RATE, self._shortest / SAMPLE_RATE
            raise DataError(f"{path} has {has:.2f} s beside its silences, and at least {needs:.2f} s are needed")
        return torch.from_numpy(wav)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The cosine of two recordings, and whether it is above the threshold, which ``threshold_from`` explains."""
        first, second = F.normalize(self._vectors(features, training=False).float(), dim=1).cpu()
        score, (threshold, source) = float(first @ second), self._decision()
        return [{"score": score, "same_speaker": score > threshold, "threshold": threshold, "threshold_from": source}]

    def _decision(self) -> tuple[float, str]:
        """The threshold, and where it comes from."""
        if self.threshold_given is not None:
            return self.threshold_given, "config"
        if self.threshold is not None:
            return self.threshold, "dev trials in training"
        for split in ("dev", "test"):
            result = self.results_dir / f"{split}.json"
            if result.is_file():
                record = json.loads(result.read_text()).get("scores", {}).get(f"{TAG}/{split}-threshold", {})
                if isinstance(record.get("value"), float):
                    return record["value"], f"{split} trials of this checkpoint"
        return 0.5, "nothing: no trials were evaluated with this checkpoint"


def _adapt(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Prepares for a checkpoint: S3PRL's has no names, and an expert without a corpus takes the number of speakers from it.

    Raises:
        DataError: the training goes on with other speakers than the checkpoint's.
    """
    saved = state.setdefault(f"{prefix}_extra_state", {"speakers": module.speakers, "threshold": None})
    if module.speakers and saved["speakers"] != module.speakers:
        raise DataError(
            f"the checkpoint was trained on {len(saved['speakers'])} speakers, and the corpus has {len(module.speakers)}, or others"
        )
    if module.objective is None:
        weights = {name: value for name, value in state.items() if name.startswith(f"{prefix}objective.")}
        by_column = state.get(f"{prefix}objective.W")
        rows = [len(value) for value in weights.values()]
        if rows:
            module.objective = module._build_objective(by_column.size(1) if by_column is not None else rows[0])
