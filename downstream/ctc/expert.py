"""Recognition with connectionist temporal classification: phones, slots, characters (SUPERB's PR and SF, OOD-ASR)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.ark import write_ark
from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.ctc import LongLabels, ctc_loss, greedy
from downstream.blocks.heads import build_head, sequence_heads
from downstream.blocks.librispeech import Utterance
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.metrics.error_rates import cer, per, uer, wer
from utility.metrics.slots import SLOT_METRICS, paired, slots_of, untagged
from utility.text.encoders import EOS, PAD, TextEncoder, encoder_from_state
from utility.training.fields import check_counts, check_fields, check_flags, check_lists, check_sections, check_texts

from .corpora import TEXT_FIELDS, Example, examples_of, in_its_case, make_encoder, pronouncing, read_split, splits_of
from .dataset import evaluation_batches, training_batches
from .model import StackedConvolution

log = logging.getLogger(__name__)
TASK = Path(__file__).resolve().parent.name
FIELDS = ("corpus", "text", "model", "save_best_on", "metric_higher_better", "metric")
RATES: dict[str, Callable[..., float]] = {"wer": wer, "per": per, "uer": uer, "cer": cer}
METRICS = (*RATES, *SLOT_METRICS)
PERCENT = ("slot_edit_f1_full", "slot_edit_f1_part")


class DownstreamExpert(CorpusTask):
    """Projector and a head that gives token scores per frame.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``corpus``, ``text``, ``model``, ``metric``, ``metric_higher_better``, ``save_best_on`` as in config.yaml.
        expdir: the experiment folder.
        mode: what the run does; only in ``"train"`` a vocabulary may be made of the texts.
    """

    sample_rate = 16000
    splits = ("train", "dev", "test")
    evaluation_memory = ("best_score", "has_best")

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        mode: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(expdir, mode=mode, **kwargs)
        check_fields(downstream_expert, {*FIELDS, "datarc"}, FIELDS, source=SOURCE)
        check_sections(downstream_expert, ("corpus", "text", "model"), source=SOURCE)
        check_sections({"datarc": downstream_expert.get("datarc") or {}}, ("datarc",), source=SOURCE)
        self.corpus, self.text, self.modelrc = (dict(downstream_expert[name]) for name in FIELDS[:3])
        self.corpus.update(downstream_expert.get("datarc") or {})  # datarc.num_workers is what other tasks call it
        self.splits = tuple(splits_of(self.corpus))
        self.metrics = _checked_metrics(downstream_expert["metric"])
        self.higher_is_better, self.save_best_on = downstream_expert["metric_higher_better"], downstream_expert["save_best_on"] or ()
        self.heads = {**sequence_heads(upstream_rate), "StackedConvolution": partial(StackedConvolution, upstream_rate=upstream_rate)}
        check_fields(self.text, TEXT_FIELDS, ("mode",), source=f"{SOURCE}.text")
        known = {"project_dim", "zero_infinity", "select", *self.heads}
        check_fields(self.modelrc, known, ("project_dim", "select"), source=f"{SOURCE}.model")
        check_counts(self.corpus, {"batch_size": 1, "eval_batch_size": 1, "num_workers": 0}, source=f"{SOURCE}.corpus")
        check_counts(self.modelrc, {"project_dim": 1}, source=f"{SOURCE}.model")
        for section, names in ((self.corpus, ("bucketing",)), (self.text, ("published", "g2p")), (self.modelrc, ("zero_infinity",))):
            check_flags(section, names, source=SOURCE)
        check_flags(downstream_expert, ("metric_higher_better",), source=SOURCE)
        check_lists(downstream_expert, ("save_best_on",), source=SOURCE)
        check_lists(self.corpus, (name for name in self.corpus if name.endswith("_speakers")), source=f"{SOURCE}.corpus")
        check_texts(self.corpus, ("path",), source=f"{SOURCE}.corpus")
        check_texts(self.text, ("vocab_file", "slots_file"), source=f"{SOURCE}.text")
        check_lists(self.corpus, ("lexicon",), source=f"{SOURCE}.corpus", alone=True)

        self._read: dict[str, list[Utterance]] = {}
        self._too_long = LongLabels()
        self._has_best = False
        self.encoder = self._first_encoder(training=mode == "train")
        self.projector = nn.Linear(upstream_dim, self.modelrc["project_dim"])
        self.model = self._head()
        self.register_buffer("best_score", torch.ones(1) * (0 if self.higher_is_better else 1 << 31))
        self.register_load_state_dict_pre_hook(_take_encoder)
        self.read_ahead()

    def _first_encoder(self, training: bool) -> TextEncoder | None:
        """The encoder of the files; None where they are missing and a checkpoint is still to come, which has its own."""
        transcripts = (lambda: [utterance.text for utterance in self._utterances(self.train_split)]) if training else None
        try:
            return make_encoder(self.text, transcripts)
        except DataError:
            if training:
                raise
            return None

    def _head(self) -> nn.Module:
        classes = len(self.encoder) if self.encoder else EOS + 1
        return build_head(self.modelrc, self.modelrc["project_dim"], classes, self.heads, source=f"{SOURCE}.model")

    @property
    def slots(self) -> bool:
        """Whether texts hold tags."""
        return bool(self.text.get("slots_file")) or str(self.text["mode"]).endswith("-slot")

    def get_extra_state(self) -> dict[str, Any]:
        """The encoder as plain data, so that a checkpoint says what its outputs mean, and whether ``best_score`` has been reached."""
        return {"encoder": self.encoder.state if self.encoder else None, "has_best": self._has_best}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Whether there is a best score; the encoder came before the head's weights."""
        self._has_best = bool(state.get("has_best"))

    def take_encoder(self, state: Mapping[str, Any]) -> None:
        """Replaces encoder and head by those of a checkpoint.

        Raises:
            ConfigError: the corpus has been read with another vocabulary.
        """
        if self.encoder and self.encoder.state == state:
            return
        if self._corpora:
            raise ConfigError("the vocabulary is not that of the checkpoint", source=f"{SOURCE}.text")
        self.encoder = encoder_from_state(dict(state))
        self.model = self._head().to(self.projector.weight.device)

    def _utterances(self, split: str) -> list[Utterance]:
        """What is said in a split; kept until its examples are made."""
        if split not in self._read:
            self._read[split] = read_split(self.corpus, split, self.slots)
        return self._read[split]

    def read_corpus(self, split: str) -> list[Example]:
        """The examples of a split.

        Raises:
            DataError: the corpus is missing or is not what it should be.
        """
        if self.encoder is None:
            self.encoder = make_encoder(self.text)  # says what is missing
        phones = self.corpus["name"] == "libriphone"
        lexicon = pronouncing(self.corpus, self.text, self.encoder) if phones else None
        utterances = self._utterances(split)
        if self.corpus["name"] == "librispeech":
            utterances = in_its_case(utterances, split, self.encoder)
        examples = examples_of(utterances, split, self.encoder, lexicon)
        del self._read[split]
        return examples

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, ids, names)``."""
        examples, workers = self.corpus_of(split), self.corpus.get("num_workers", 0)
        if split == self.train_split and self.training:
            return training_batches(examples, self.corpus.get("batch_size", 16), self.corpus.get("bucketing", True), workers)
        return evaluation_batches(examples, self.corpus.get("eval_batch_size", 1), workers)

    def logits(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """List of (T_i, D) -> (B, T', tokens) and the numbers of true frames (B,)."""
        features = [feature if len(feature) else feature.new_zeros(1, feature.size(-1)) for feature in features]
        lengths = torch.tensor([len(feature) for feature in features])
        return self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)

    def _texts(self, logits: Tensor, lengths: Tensor) -> list[str]:
        return [self.encoder.decode(ids) for ids in greedy(logits, lengths, PAD, drop=(EOS,))]

    def forward(
        self, split: str, features: list[Tensor], ids: list[list[int]], names: list[str], records: dict[str, list], **kwargs: Any
    ) -> Tensor:
        """CTC loss of a batch; records it, and per item hypothesis, reference and name.

        Args:
            features: list of (T_i, D).
            ids: the labels.
            names: of the utterances.
            records: lists to grow.
        """
        logits, lengths = self.logits(features)
        loss = ctc_loss(logits, lengths, ids, PAD, self.modelrc.get("zero_infinity", True))
        records["loss"].append(loss.item())
        records["hypothesis"] += self._texts(logits.detach(), lengths)
        records["groundtruth"] += [self.encoder.decode(label) for label in ids]
        records["filename"] += names
        if self.training:
            self._too_long.note(ids, lengths, names)
        return loss

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs loss and metrics and writes the texts; a better first metric on a split of ``save_best_on`` gives ``<split>-best.ckpt``."""
        self._too_long.report()
        values = {"loss": sum(records["loss"]) / len(records["loss"]), **self.measure(records["hypothesis"], records["groundtruth"])}
        for name, value in values.items():
            logger.add_scalar(f"{TASK}-{self.corpus['name']}/{split}-{name}", value, global_step=global_step)
            print(f"{split} {name}: {value}")
        if "dev" in split or "test" in split:
            for kind, texts in (("hyp", "hypothesis"), ("ref", "groundtruth")):
                write_ark(self.results_dir / f"{split}-{kind}.ark", records["filename"], records[texts])
        save = [f"{split}-best.ckpt"] if split in self.save_best_on and self._is_best(values.get(self.metrics[0])) else []
        return Outcome(save_names=save, scores={name: _score(name, value) for name, value in values.items()})

    def measure(self, hypotheses: list[str], references: list[str]) -> dict[str, float]:
        """The metrics of the config, in their order; those that nothing can be measured by are left out."""
        pairs = paired(hypotheses, references) if set(self.metrics) & set(SLOT_METRICS) else []
        values = {name: RATES[name](hypotheses, references) if name in RATES else SLOT_METRICS[name](pairs) for name in self.metrics}
        return {name: value for name, value in values.items() if value is not None}

    def _is_best(self, value: float | None) -> bool:
        """Whether a score is better than all before, or the first one and no worse than where S3PRL starts; it is kept then."""
        if value is None:
            return False
        new, best = torch.tensor(value), self.best_score.cpu()
        better = new > best if self.higher_is_better else new < best
        if not better and (self._has_best or new != best):
            return False
        self.best_score.fill_(value)
        self._has_best = True
        return True

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """What is said in each recording: ``phones``, ``text``, or ``text`` and ``slots``."""
        texts = self._texts(*self.logits(features))
        return [{"file": name, **self._answer(text)} for name, text in zip(names, texts, strict=True)]

    def _answer(self, text: str) -> dict[str, Any]:
        if self.slots:
            found = [{"slot": kind, "value": value} for kind, value in slots_of(text, hypothesis=True)]
            return {"text": untagged(text), "slots": found, "tagged": text}
        return {"phones" if self.corpus["name"] == "libriphone" else "text": text}


def _checked_metrics(metrics: list[str]) -> list[str]:
    if not isinstance(metrics, list | tuple):
        raise ConfigError(f"metric must be a list of names, not {metrics!r}", source=SOURCE)
    for name in metrics:
        if name not in METRICS:
            raise UnknownNameError(f"metric in {SOURCE}.metric", str(name), METRICS)
    if not metrics:
        raise ConfigError("metric must name at least one", source=SOURCE)
    return list(metrics)


def _score(name: str, value: float) -> Score:
    unit = "nats" if name == "loss" else "percent" if name in PERCENT else "fraction"
    return Score(value, higher_is_better="f1" in name, unit=unit)


def _take_encoder(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before the weights: the checkpoint's vocabulary. S3PRL's checkpoints have none; theirs is that of the files."""
    extra = state.setdefault(f"{prefix}_extra_state", {"encoder": None})
    if extra["encoder"]:
        module.take_encoder(extra["encoder"])
    elif module.encoder is None:
        module.encoder = make_encoder(module.text)  # says what is missing
