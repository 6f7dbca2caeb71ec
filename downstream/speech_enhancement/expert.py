"""Speech enhancement: a network that masks the spectrum of noisy speech (the STM32 model zoo's use case)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from downstream.blocks.ark import free_key
from downstream.blocks.corpus_task import CorpusTask
from downstream.blocks.enhancement.dataset import load_pair, pair_loader
from downstream.blocks.enhancement.losses import build_loss
from downstream.blocks.enhancement.pairs import PairedFiles
from downstream.blocks.enhancement.recordings import Asked, Opened
from downstream.blocks.enhancement.scoring import improvements, keep, measure
from downstream.interfaces import Outcome, RunContext, Score
from utility.audio.stft import Stft
from utility.errors import UsageError
from utility.experiment import checkpoint as checkpoints
from utility.metrics.enhancement import HIGHER_IS_BETTER, UNITS

from .corpus import Corpus
from .estimation import Estimator
from .long import LongRecording
from .models.registry import build_model, load_weights
from .operations import RUNS, check_sections
from .progress import Progress
from .regularisation import ActivationPenalty
from .settings import SOURCE, Settings

UPSTREAMS = ("stft_mag", "waveform")
SNAPSHOT = Path("training_logs/training_snapshot.pth")
TASK = Path(__file__).resolve().parent.name


class DownstreamExpert(CorpusTask):
    """A network (B, F, T) magnitudes -> (B, F, T) mask on the task's own transform; results are PESQ, STOI, SNR, SI-SNR and MSE.

    The features of the upstream are not used: networks of this task read spectra only (``-d enhancement_stft`` takes any upstream).

    Args:
        upstream_dim, upstream_rate: of the features.
        downstream_expert: the sections of config.yaml.
        expdir: the experiment folder.
        upstream: ``stft_mag`` or ``waveform``.
        model_file: Python file with the class ``Custom``, for ``model_type: Custom``.
        seed: of the drawing of recordings, where the config has none.

    Attributes:
        model: the network.
        stft: the transform.
        settings: ``downstream_expert`` as it was given.
    """

    runs = tuple(RUNS)
    splits = ("train", "dev", "test")
    evaluation_memory = ("progress", "train_loss")
    datarc_source = f"{SOURCE}.dataset"

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        upstream: str = UPSTREAMS[0],
        model_file: str | None = None,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        if upstream not in UPSTREAMS:
            raise UsageError(
                f"-d {TASK} makes its own spectra, so -u must be {' or '.join(UPSTREAMS)}, not {upstream}; -d enhancement_stft takes any"
            )
        self.settings, self.checked = downstream_expert, Settings.of(downstream_expert)
        training = self.training_options = self.checked.training
        self.corpus, self.seed = Corpus.of(downstream_expert["dataset"]), seed
        self.stft, self.sample_rate = Stft(self.checked.stft), self.checked.stft.sample_rate
        self.estimator = Estimator(self.checked.stft, training.batching_strategy == "trim", training.published)
        model_type = self.checked.model.get("model_type")
        self.model = build_model(model_type, self.checked.model_specific, self.checked.stft.bins, model_file, SOURCE)
        self.loss, self.penalty = build_loss(training.loss), ActivationPenalty(self.model, self.checked.regularisation)
        self.progress = Progress(training.reference_metric, training.early_stopping_patience if training.early_stopping else None)
        self.train_loss = (0.0, 0)
        self.mode = kwargs.get("mode")
        self._asked = Asked()
        self._written: set[str] = set()
        if self.mode == "evaluate" and not (kwargs.get("past_exp") or kwargs.get("init_ckpt")):
            self._take_weights()
            self.trains = not any(self.checked.model.get(name) for name in ("state_dict_path", "onnx_path"))  # these are what is evaluated
        if self.mode == "train":
            check_sections(downstream_expert)
        limit = (downstream_expert.get("general") or {}).get("gpu_memory_limit")
        if limit is not None and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(float(limit))
        self.read_ahead()

    def after_save(self, path: Path, global_step: int) -> None:
        """``training_logs/training_snapshot.pth`` leads to the newest checkpoint, as ``training.snapshot_path`` of the zoo names it."""
        if path.name.startswith("states-"):
            link = self.expdir / SNAPSHOT
            link.parent.mkdir(exist_ok=True)
            fresh = link.with_name(f".{link.name}.tmp-{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path("..") / path.name)
            fresh.replace(link)

    def _take_weights(self) -> None:
        if path := self.checked.model.get("state_dict_path"):
            load_weights(self.model, path)

    def begin_with(self, upstream: nn.Module) -> None:
        """A new training begins with the weights of ``model.state_dict_path``, if there is one."""
        self._take_weights()

    def get_extra_state(self) -> dict[str, Any]:
        """The evaluations so far, and the sum and the number of training losses since the last one."""
        return {"progress": self.progress.state(), "train_loss": list(self.train_loss)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes up those of a checkpoint."""
        self.progress.load(state["progress"])
        self.train_loss = tuple(state["train_loss"])

    # ---- data

    def read_corpus(self, split: str) -> list[PairedFiles]:
        """The recordings of a split.

        Raises:
            DataError: folders are missing or do not pair.
        """
        return self.corpus.read(split, self.seed)

    def load(self, pair: PairedFiles) -> tuple[Tensor, Tensor]:
        """(noisy, clean) waveforms of a pair, 1-D float32."""
        return load_pair(pair, self.sample_rate, self.checked.stft.win_length)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, noisy, clean, names)``; evaluations take whole recordings one by one."""
        options, learns = self.training_options, split == self.train_split and self.training
        longest = math.ceil(options.crop_seconds * self.sample_rate) if learns and options.crop_seconds else None
        return pair_loader(
            self.corpus_of(split),
            self.sample_rate,
            batch_size=options.batch_size if learns else 1,
            num_workers=options.num_dataloader_workers,
            shuffle=learns and self.corpus.shuffle,
            least_samples=self.checked.stft.win_length,
            longest=longest,
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
        """The loss of a batch; in evaluation the enhanced waveforms are recorded beside the clean ones.

        Args:
            features: not used.
            noisy, clean: lists of (N_i,).
            names: of the recordings.
            records: lists to grow.
        """
        device = self.stft.window.device
        noisy, clean = ([wave.to(device) for wave in side] for side in (noisy, clean))
        loss = self.loss(self.estimator.batch(self.model, noisy, clean)) + self.penalty.taken(device)
        records["loss"].append(loss.item())
        if not self.training:
            keep(records, names, noisy=noisy, clean=clean, enhanced=map(self.enhance, noisy))
        return loss

    def enhance(self, wave: Tensor) -> Tensor:
        """(N,) -> (M,), see :meth:`Estimator.enhanced`."""
        return self.estimator.enhanced(self.model, wave)

    def after_update(self) -> None:
        """Weight clipping."""
        self.checked.regularisation.clip(self.model)

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Training: the loss. Evaluation: the metrics; those of ``dev`` decide on ``dev-best.ckpt`` and on stopping."""
        losses = records["loss"]
        logger.add_scalar(f"{TASK}/{split}-loss", sum(losses) / len(losses), global_step=global_step)
        if "enhanced" not in records:
            total, count = self.train_loss
            self.train_loss = (total + sum(losses), count + len(losses))
            return Outcome()
        summary = measure(records, self.sample_rate, self.training_options.metrics, self.results_dir / f"{split}-metrics.csv")
        scores = {name: Score(one.mean, HIGHER_IS_BETTER[name], UNITS[name]) for name, one in summary.items()}
        for name, score in scores.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", score.value, global_step=global_step)
        scores["loss"] = Score(sum(losses) / len(losses), higher_is_better=False, unit="loss")
        if self.mode != "train":
            return Outcome(scores=scores | improvements(records, self.sample_rate, summary))
        improved, stop = self._after_epoch({name: score.value for name, score in scores.items()}) if split == "dev" else (False, False)
        return Outcome(save_names=["dev-best.ckpt"] if improved else [], stop=stop, scores=scores)

    def _after_epoch(self, scores: Mapping[str, float]) -> tuple[bool, bool]:
        """Whether this evaluation is the best, and whether to stop; writes tables, pictures and plain state dicts."""
        (total, count), self.train_loss = self.train_loss, (0.0, 0)
        row = {"train_loss": total / count if count else math.nan, "val_mse": scores.get("mse", math.nan), **scores}
        improved, stop = self.progress.add(row)
        self.progress.write(self.expdir / "training_logs", self.training_options.logs_filename)
        epoch = len(self.progress.rows)
        due = [f"checkpoint_epoch_{epoch}"] if epoch % self.training_options.save_every == 0 else []
        names = due + ["best_model_state_dict.pth"] * improved
        if names:
            folder = self.expdir / self.training_options.ckpt_path
            folder.mkdir(parents=True, exist_ok=True)
            state = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
            checkpoints.save(state, [folder / name for name in names])
        return improved, stop

    # ---- use

    def load_audio(self, path: str) -> Tensor:
        """Keeps a user's recording, with all channels, or where it lies if it is long; nothing goes to the upstream."""
        self._asked.open(LongRecording.of(path) or Opened.of(path))
        return torch.zeros(0)

    def pieces(self, wav: Tensor) -> list[Tensor]:
        """None for the upstream, whose features are not used."""
        self._asked.take(wav, self.sample_rate)
        return []

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """Writes the enhanced recording into ``enhanced/`` of the results, at its own rate and with its own channels."""
        recording, key = self._asked.recording, free_key(names[0], self._written)
        place, picture = self.results_dir / "enhanced" / f"{key}.wav", self.checked.inference.get("spectrograms", False)
        if isinstance(recording, LongRecording):
            answer = recording.enhance(self.model, self.checked.stft, place, picture)
        else:
            channels = [self.enhance(channel.to(self.stft.window.device)) for channel in recording.channels(self.sample_rate)]
            answer = recording.write(recording.restored(channels, self.sample_rate), place, picture)
        self._written.add(key)
        return [answer]

    def run(self, name: str, context: RunContext) -> Mapping[str, Score] | None:
        """The work of :mod:`.operations`: export, quantisation, benchmarks ..."""
        return RUNS[name](self, context)
