"""MOS prediction: how good do listeners find a recording, from 1 to 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.interfaces import Outcome, RunContext, Score
from utility.errors import CheckpointError, ConfigError

from . import work
from .audio import load, segments, within_limits
from .build import build_predictor, check_heads, check_scale, uses_domains, uses_listeners, uses_text
from .checkpoints import BEST, begin_with_parts, keep_best, name_of
from .dataset import SEGMENTS, RatingDataset, Vocabularies
from .losses import Criterion, class_of
from .models.parts import Answer
from .plots import draw_all
from .ranking import Ranking
from .reports import Predictions, scores_of
from .settings import Settings, check_config
from .table import Rating, listeners_of, read_tables, samples_of, with_mean_listener
from .vcc import SPLIT_2016, read_2016, read_2018


class DownstreamExpert(CorpusTask):
    """A predictor on the features, trained on single ratings or on mean opinion scores.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc``, ``modelrc``, ``lossrc``, ``selection`` as in config.yaml; ``inference`` and ``datastore`` say what
            ``-t inference`` and ``-t datastore`` do.
        expdir: the experiment folder.
    """

    length_rule = "ceil"  # as SHEET hears: each recording's last frame once more where its frames do not cover it
    splits = ("train", "dev", "vcc2018_test", "vcc2016_test")
    runs = tuple(work.RUNS)
    evaluation_memory = ("ranking",)

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        check_config(downstream_expert)
        self.settings, self.datarc = Settings.of(downstream_expert), downstream_expert["datarc"]
        self.upstream_dim, self._training = upstream_dim, kwargs.get("mode") == "train"
        selection = self.settings.selection
        self.ranking = Ranking(selection.keep_nbest_models, selection.patience, selection.order)
        self.criterions = nn.ModuleDict({name: Criterion(own, f"{SOURCE}.lossrc.{name}") for name, own in self.settings.losses.items()})
        if self.settings.model.model_type == "LDNet":
            self.length_rule = "own"
        self.in_segments = self.settings.model.model_type == "MBNet"
        if self.in_segments:
            self.pieces = self.heard
        self.vocabularies, self.scale = Vocabularies(), (1.0, 5.0)
        if self._training:
            model = self.settings.model
            check_heads(model.model_type, model.params, model.categorical_step, self.criterions, SOURCE)
            self.read_ahead()
            self._learn_vocabularies()
        self.model = self._build()
        self.normalization = nn.BatchNorm1d(upstream_dim, affine=False) if self.settings.model.normalize_features else None
        self.register_load_state_dict_pre_hook(_take_vocabularies)

    def read_corpus(self, split: str) -> list[Rating]:
        """All rows of the csv files of a split, or of the Voice Conversion Challenges."""
        if split == SPLIT_2016:
            return read_2016(*self.needed("vcc2016_file_path"), f"{self.datarc_source}.vcc2016_file_path")
        if self.datarc.get("vcc2018_file_path") or split not in ("train", "dev"):
            return read_2018(*self.needed("vcc2018_file_path"), split, f"{self.datarc_source}.vcc2018_file_path")
        given = self.datarc.get(f"{split}_csv")
        paths = [given] if given and isinstance(given, str) else list(given or ())
        if not paths:
            raise ConfigError(f"field '{split}_csv' is missing: a csv file, or a list of them", self.datarc_source)
        return read_tables(paths, f"{self.datarc_source}.{split}_csv")

    def _learn_vocabularies(self) -> None:
        """Listeners, number of data sets and range of scores of the training split."""
        own, model = self.corpus_of(self.train_split), self.settings.model
        kind, params = model.model_type, model.params
        listeners = listeners_of(own, f"{self.datarc_source}.train_csv") if uses_listeners(kind, params) else None
        domains = None
        if uses_domains(params):
            if nameless := next((rating for rating in own if rating.domain is None), None):
                raise ConfigError(
                    f"the sample {nameless.sample} has no domain_idx, which this predictor needs", f"{self.datarc_source}.train_csv"
                )
            domains = model.num_domains or 1 + max(rating.domain for rating in own)
        self.vocabularies = Vocabularies(listeners, domains, (model.symbols or "") if uses_text(kind, params) else "")
        if uses_text(kind, params) and not model.symbols:
            raise ConfigError("field 'symbols' is missing: the characters of the phonemes that this predictor reads", f"{SOURCE}.modelrc")
        texts = ("phoneme", "reference") if params.get("use_reference", True) else ("phoneme",)
        for split in dict.fromkeys((self.train_split, *self.evaluated)):
            self.vocabularies.check(self.corpus_of(split), texts if self.vocabularies.symbols else (), f"{self.datarc_source}.{split}_csv")
        scores = [rating.score for rating in own]
        self.scale = (min(scores), max(scores))
        check_scale(kind, params, model.categorical_step, self.scale, f"{self.datarc_source}.train_csv")

    def _build(self) -> nn.Module:
        known = self.vocabularies
        listeners = None if known.listeners is None else len(known.listeners) + 1
        where = f"{SOURCE}.modelrc.model_params"
        kind, params = self.settings.model.model_type, self.settings.model.params
        if not self._training and uses_listeners(kind, params) and listeners is None:
            listeners = 1  # until the checkpoint says it
        domains = known.domains or (1 if uses_domains(params) else None)
        return build_predictor(kind, params, self.upstream_dim, listeners, domains, where)

    def get_extra_state(self) -> dict[str, Any]:
        """Vocabularies, range of scores and the ranking of checkpoints, as plain data."""
        own = self.vocabularies
        known = {"listeners": own.listeners, "domains": own.domains, "symbols": own.symbols, "scale": list(self.scale)}
        return {"vocabularies": known, "ranking": self.ranking.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes the ranking; the vocabularies came before the weights."""
        if "ranking" in state:
            self.ranking.restore(state["ranking"])

    def take_vocabularies(self, known: Mapping[str, Any]) -> None:
        """Those of a checkpoint, with a predictor of their size."""
        taken = Vocabularies(known["listeners"], known["domains"], known["symbols"])
        self.scale = tuple(known["scale"])
        if taken != self.vocabularies:
            if self._training and self._corpora:
                raise ConfigError(
                    "the training data has other listeners or data sets than the checkpoint's", f"{self.datarc_source}.train_csv"
                )
            self.vocabularies = taken
            place = next(self.model.parameters()).device
            self.model = self._build().to(place).train(self.training)

    def begin_with(self, upstream: nn.Module) -> None:
        """Parts of another training's weights (``modelrc.init``), as two-stage training on several data sets takes them."""
        if self.settings.model.init:
            begin_with_parts(self.settings.model.init, upstream, self.model)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, ratings, counts)``: ratings in random order (train), or each sample once in order."""
        training, data = split == self.train_split, self.settings.data
        ratings = self.rows_of(split)
        dataset = RatingDataset(ratings, data.max_seconds, self._padding(training))
        size = data.train_batch_size if training else data.eval_batch_size
        return DataLoader(dataset, size, shuffle=training, num_workers=data.num_workers, collate_fn=dataset.collate_fn)

    def _padding(self, training: bool) -> str:
        if self.in_segments:
            return SEGMENTS
        return self.settings.data.padding_mode if self.settings.model.model_type == "LDNet" and training else "none"

    def rows_of(self, split: str) -> list[Rating]:
        """What a split consists of: its samples, or in training its ratings where the config wants them."""
        ratings = self.corpus_of(split)
        if split != self.train_split or self.settings.data.wav_only:
            return samples_of(ratings)
        return (
            with_mean_listener(ratings) if self.vocabularies.listeners is not None and self.settings.data.mean_listener else list(ratings)
        )

    def forward(
        self, split: str, features: list[Tensor], ratings: Sequence[Rating], counts: Sequence[int], records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """The loss of a batch; answers are recorded when evaluating.

        Args:
            features: list of (T_i, D).
            ratings: of the batch.
            counts: how many of the features belong to each.
            records: lists to grow.
        """
        if self.training:
            loss = self._loss(features, ratings, counts)
            records["loss"].append(loss.item())
            return loss
        answer = self.answer(features, ratings, counts)
        records["answers"] += answer.scores.float().tolist()
        records["samples"] += list(ratings)
        truth = torch.tensor([rating.mean for rating in ratings], device=answer.scores.device)
        return (answer.scores - truth).square().mean()

    def _loss(self, features: list[Tensor], ratings: Sequence[Rating], counts: Sequence[int]) -> Tensor:
        x, lengths = self._arranged(features, counts)
        frames = self.model(x, self.vocabularies.conditions(ratings, x.device), lengths)
        mean = torch.tensor([rating.mean for rating in ratings], device=x.device)
        own = torch.tensor([rating.score for rating in ratings], device=x.device)
        total = x.new_zeros(())
        if frames.mean is not None:
            target = class_of(mean, self.settings.model.categorical_step) if frames.mean.dim() == 3 else mean
            total = total + self.criterions["mean_score_criterions"](frames.mean.float(), target, lengths, frames.log_variance)
        if frames.listener is not None:
            total = total + self.criterions["listener_score_criterions"](frames.listener.float(), own, lengths)
        if frames.classes is not None:
            classes = class_of(mean, self.settings.model.categorical_step)
            total = total + self.criterions["categorical_head_criterions"](frames.classes.float(), classes, lengths)
        return total

    def _arranged(self, features: list[Tensor], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, T, D) frames, or (B, S, T, D) frames of segments, and how many of T, or of S, each item has."""
        if self.normalization is not None:
            features = list(self.normalization(torch.cat(features)).split([len(feature) for feature in features]))
        if not self.in_segments:
            return padded(features)
        frames = max(len(feature) for feature in features)
        parts = [nn.functional.pad(feature, (0, 0, 0, frames - len(feature))).flatten() for feature in features]
        x, lengths = padded([torch.stack(own) for own in _grouped(parts, counts)])
        return x.view(*x.shape[:2], frames, -1), lengths

    def heard(self, wav: Tensor) -> list[Tensor]:
        """The waveforms that the upstream gets of one."""
        return [torch.from_numpy(part) for part in segments(wav.cpu().numpy())] if self.in_segments else [wav]

    def answer(self, features: list[Tensor], ratings: Sequence[Rating], counts: Sequence[int] | None = None) -> Answer:
        """Scores of utterances, each as if it were alone; without ``counts`` all features are of one rating, or one of each."""
        x, lengths = self._arranged(features, counts or [len(features) // len(ratings)] * len(ratings))
        return self.model.answer(x, self.vocabularies.conditions(ratings, x.device), lengths)

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs the loss (train), or the agreement with listeners; dev decides which checkpoints are kept and when to stop."""
        if "answers" not in records:
            mean = sum(records["loss"]) / len(records["loss"])
            logger.add_scalar(f"mos_prediction/{split}-loss", mean, global_step=global_step)
            return Outcome(scores={"loss": Score(mean, higher_is_better=False, unit="score")})
        predictions = Predictions(records["samples"], records["answers"])
        metrics = predictions.metrics()
        for key, value in metrics.items():
            if value is not None:
                logger.add_scalar(f"mos_prediction/{split}-{key}", value, global_step=global_step)
        names = self._rank(global_step, predictions, metrics) if self._training and split == self.evaluated[0] else []
        stop = bool(names is not None and self._training and self.ranking.exhausted)
        return Outcome(save_names=names, stop=stop, scores=scores_of(metrics))

    def _rank(self, step: int, predictions: Predictions, metrics: Mapping[str, float | None]) -> list[str]:
        folder = self.expdir / "intermediate_results" / f"{step}steps"
        draw_all(folder, predictions.systems, predictions.truth, predictions.answers)
        kept = self.ranking.add(step, metrics[self.settings.selection.key])
        return [name_of(step)] if kept else []

    def after_save(self, path: Path, global_step: int) -> None:
        """Leaves the best checkpoints, and ``checkpoint-best.pkl`` as a link to the best of them."""
        if path.name == name_of(global_step):
            keep_best(path.parent, self.ranking.kept, BEST)

    def load_audio(self, path: str) -> Tensor:
        """A user's recording as it is heard in training."""
        return torch.from_numpy(load(path, self.settings.data.max_seconds))

    def as_loaded(self, wav: Tensor) -> Tensor:
        """A user's waveform at 16 kHz as :meth:`load_audio` gives the same recording."""
        return torch.from_numpy(within_limits(wav.numpy(), self.settings.data.max_seconds))

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The score of each recording, by the mean listener; one that is told the data set takes ``inference.domain_idx``."""
        names = names if not self.in_segments else names[:1]
        unknown = [Rating(name, "", name, 0.0, 0.0, domain=self.settings.inference.domain_idx) for name in names]
        answer = self.answer(features, unknown)
        if not answer.scores.isfinite().all():
            raise CheckpointError("the answer is not finite: the predictor of this checkpoint has diverged")
        lines = [{"score": round(score, 4)} for score in answer.scores.float().tolist()]
        for line, variance in zip(lines, answer.log_variances.tolist() if answer.log_variances is not None else (), strict=False):
            line["log_variance"] = round(variance, 4)
        return lines

    def run(self, name: str, context: RunContext) -> Outcome | None:
        """``inference`` on a test set, ``datastore`` of a training set."""
        return work.RUNS[name](self, context)


def _grouped(parts: Sequence[Tensor], counts: Sequence[int]) -> list[list[Tensor]]:
    """One list for each count."""
    own = iter(parts)
    return [[next(own) for _ in range(count)] for count in counts]


def padded(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """List of (T_i, D) -> (B, T, D) and (B,) numbers of frames; an utterance without any has one of zeros."""
    features = [feature if len(feature) else feature.new_zeros(1, feature.size(1)) for feature in features]
    lengths = torch.tensor([len(feature) for feature in features], device=features[0].device)
    return pad_sequence(features, batch_first=True), lengths


def _take_vocabularies(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    known = state.get(f"{prefix}_extra_state", {}).get("vocabularies")
    if known:
        module.take_vocabularies(known)
