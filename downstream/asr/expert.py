"""Speech recognition on LibriSpeech: letters by CTC, words with or without a language model (SUPERB's ASR)."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.ark import free_key, write_ark
from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.ctc import LongLabels, ctc_loss, greedy
from downstream.blocks.heads import build_head, sequence_heads
from downstream.blocks.length_buckets import BatchOrder, TableRow, form_batches, published_batches
from downstream.interfaces import Outcome, Score
from utility.audio.io import AUDIO_EXTENSIONS
from utility.errors import ConfigError
from utility.metrics.error_rates import edit_distance
from utility.text.letters import LetterDictionary, as_letters, words_of
from utility.training.fields import check_counts, check_fields, check_flags, check_lists, check_sections, check_texts

from .dataset import LibriSpeechLetters, report_unknown, transcribed
from .decoder import LanguageModelDecoder, decoder_type

log = logging.getLogger(__name__)
TASK = Path(__file__).resolve().parent.name
DICTIONARY = Path(__file__).with_name("char.dict")
SPLITS = ("train", "dev-clean", "dev-other", "test-clean", "test-other")
LEAST = {"batch_size": 1, "train_batch_size": 1, "eval_batch_size": 1, "num_workers": 0}
FIELDS = {
    *("libri_root", "bucket_file", "dict_path", "num_workers", "batch_size", "train_batch_size", "eval_batch_size"),
    *("zero_infinity", "decoder_args", "published_batches"),
}


class DownstreamExpert(CorpusTask):
    """Projector, recurrent layers, one of 32 letters per frame; the metric is the word error rate in percent.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.
        mode: what the run does; the decoder of a language model is made at once, so that nobody waits for its errors.
    """

    sample_rate = 16000
    splits = SPLITS
    task_version = 2  # letters that the dictionary lacks count as errors
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
        check_sections(downstream_expert, ("datarc", "modelrc"), ("datarc", "modelrc"), source=SOURCE)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        self.splits = splits_of(self.datarc, (self.train_split, *self.evaluated))
        heads = sequence_heads(upstream_rate)
        check_fields(modelrc, {"project_dim", "select", *heads}, ("project_dim", "select"), source=f"{SOURCE}.modelrc")
        check_counts(self.datarc, LEAST, source=f"{SOURCE}.datarc")
        check_texts(self.datarc, ("libri_root", "bucket_file", "dict_path"), source=f"{SOURCE}.datarc")
        check_flags(self.datarc, ("zero_infinity", "published_batches"), source=f"{SOURCE}.datarc")
        check_counts(modelrc, {"project_dim": 1}, source=f"{SOURCE}.modelrc")
        self.kind = decoder_type(self.datarc.get("decoder_args"), f"{SOURCE}.datarc.decoder_args")

        self.dictionary = LetterDictionary.load(self.datarc.get("dict_path") or DICTIONARY, f"{SOURCE}.datarc.dict_path")
        self.projector = nn.Linear(upstream_dim, modelrc["project_dim"])
        self.model = build_head(modelrc, modelrc["project_dim"], len(self.dictionary), heads, source=f"{SOURCE}.modelrc")
        self.register_buffer("best_score", torch.ones(1) * 100)
        self.register_load_state_dict_pre_hook(_accept_without_letters)

        self.decisive = "dev-clean" if "dev-clean" in self.evaluated or not self.evaluated else self.evaluated[0]
        self._decoder: LanguageModelDecoder | None = None
        self._has_best = False
        self._heard: dict[str, str] = {}
        self._writes_heard = True
        self._too_long = LongLabels()
        self.read_ahead()
        if mode in ("train", "evaluate") and self.kind:
            self.decoder()

    def get_extra_state(self) -> dict[str, Any]:
        """The letters, so that a checkpoint says what its outputs mean, and whether ``best_score`` has been reached."""
        return {"letters": self.dictionary.symbols, "has_best": self._has_best}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Takes both from a checkpoint."""
        self.dictionary, self._has_best = LetterDictionary(state["letters"]), state["has_best"]

    # ---- data

    def read_corpus(self, split: str) -> tuple[list[list[TableRow]], dict[str, str]]:
        """Batches of like length, the longest first, and the text of each utterance.

        Raises:
            ConfigError: the config does not say where the corpus lies and which tables it has.
            DataError: corpus, tables of lengths or texts are missing.
        """
        rows, texts = transcribed(*self.needed("libri_root", "bucket_file", split), self.datarc_source)
        report_unknown(texts, self.dictionary, split)
        size = self._batch_size(split)
        if self.datarc.get("published_batches", False):
            return published_batches(rows, size, lambda row: row.name in texts), texts
        return form_batches([row for row in rows if row.name in texts], size), texts

    def _batch_size(self, split: str) -> int:
        names = ("batch_size", "train_batch_size") if split == self.train_split else ("eval_batch_size",)
        return next((self.datarc[name] for name in names if name in self.datarc), 1)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels, names, texts)``; labels are the numbers of the letters, ``|`` and ``</s>`` at the end."""
        batches, texts = self.corpus_of(split)
        dataset = LibriSpeechLetters(self.datarc["libri_root"], [row for batch in batches for row in batch], texts, self.dictionary)
        return DataLoader(
            dataset,
            batch_sampler=BatchOrder([len(batch) for batch in batches], shuffle=split == self.train_split and self.training),
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=dataset.collate_fn,
        )

    # ---- model

    def logits(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """List of (T_i, D) -> (B, T', letters) and the numbers of true frames (B,)."""
        lengths = torch.tensor([max(1, len(feature)) for feature in features], device=features[0].device)
        return self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)

    def forward(
        self,
        split: str,
        features: list[Tensor],
        labels: list[Tensor],
        names: list[str],
        texts: list[str] | None = None,
        *,
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """CTC loss of a batch; records it, and what was said and what is heard, as letters and as words.

        Args:
            features: list of (T_i, D).
            labels: numbers of the letters of each item.
            names: of the utterances.
            texts: what was said; without them it is made of the numbers, in which letters that the dictionary lacks are all the same.
            records: lists to grow.
        """
        logits, lengths = self.logits(features)
        labels = [torch.as_tensor(label) for label in labels]
        loss = ctc_loss(logits, lengths, labels, self.dictionary.begin, self.datarc.get("zero_infinity", True))
        said = [self.dictionary.string(label.tolist()) for label in labels] if texts is None else [" ".join(as_letters(t)) for t in texts]
        heard, words = self._hear(logits.detach(), lengths)
        if self.training:
            self._too_long.note([label.tolist() for label in labels], lengths, names)
        records["loss"].append(loss.item())
        records["target_tokens"] += said
        records["target_words"] += [words_of(letters) for letters in said]
        records["pred_tokens"] += heard
        records["pred_words"] += words
        records["filenames"] += names
        return loss

    def _hear(self, logits: Tensor, lengths: Tensor) -> tuple[list[str], list[list[str]]]:
        """The likeliest letters of each item, and its words: of these letters or, outside of training, by the language model."""
        letters = [self.dictionary.string(item) for item in greedy(logits, lengths, self.dictionary.begin)]
        if self.kind is None or self.training:
            return letters, [words_of(text) for text in letters]
        decode = self.decoder()
        return letters, [decode(item[:length]) for item, length in zip(logits, lengths.tolist(), strict=True)]

    def decoder(self) -> LanguageModelDecoder:
        """The decoder that ``decoder_args`` describes; lexicon and language model are read at the first call."""
        if self._decoder is None:
            self._decoder = LanguageModelDecoder(self.datarc["decoder_args"], self.dictionary, f"{SOURCE}.datarc.decoder_args")
        return self._decoder

    # ---- results

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs loss, unit and word error rate in percent, writes what was heard; the lowest WER so far gives ``<split>-best.ckpt``."""
        self._too_long.report()
        tokens = ([text.split() for text in records[f"{whose}_tokens"]] for whose in ("pred", "target"))
        rates = {
            "loss": sum(records["loss"]) / len(records["loss"]),
            "uer": percent(*tokens),
            "wer": percent(records["pred_words"], records["target_words"]),
        }
        for name, value in rates.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", value, global_step=global_step)
            print(f"{split} {name}: {value}")
        if "dev" in split or "test" in split:
            label = f"{split}-{'LM' if self.kind else 'noLM'}"
            for kind, whose in (("hyp", "pred"), ("ref", "target")):
                write_ark(self.results_dir / f"{label}-{kind}.ark", records["filenames"], map(" ".join, records[f"{whose}_words"]))

        # S3PRL starts at 100; a training that does worse at first gets its checkpoint nevertheless.
        best = split == self.decisive and (rates["wer"] < self.best_score.item() or not self._has_best)
        if best:
            self.best_score.fill_(rates["wer"])
            self._has_best = True
        scores = {name: Score(rates[name], higher_is_better=False, unit="percent") for name in ("wer", "uer")}
        scores["loss"] = Score(rates["loss"], higher_is_better=False, unit="nats")
        names = [f"{split}-best.ckpt", "dev-best.ckpt"] if best else []
        return Outcome(save_names=names, scores=scores, variant="LM" if self.kind else "")

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """What is said in each recording; also written to ``inference.ark`` in the folder of the results, if that is possible."""
        _, words = self._hear(*self.logits(features))
        texts = [" ".join(said) for said in words]
        for name, text in zip(names, texts, strict=True):
            path = Path(name)
            self._heard[free_key(path.stem if path.suffix.lower() in AUDIO_EXTENSIONS else path.name, self._heard)] = text
        self._keep_heard(self.results_dir / "inference.ark")
        return [{"file": name, "text": text} for name, text in zip(names, texts, strict=True)]

    def _keep_heard(self, path: Path) -> None:
        """Writes all that was heard so far; the experiment may belong to someone else, which is said once."""
        if not self._writes_heard:
            return
        try:
            write_ark(path, self._heard, self._heard.values())
        except OSError as error:
            self._writes_heard = False
            log.warning("%s cannot be written: %s; the texts are in the answers", path, error.strerror or error)


def splits_of(datarc: Mapping[str, Any], used: Iterable[str] = ()) -> tuple[str, ...]:
    """The splits of a config: the fields that hold lists of tables. Beside LibriSpeech's, a config may have splits of its own.

    A name that differs from one of LibriSpeech's, which the config lacks, by little more than a slip is taken for it and refused.

    Args:
        datarc: the section.
        used: splits that the config names elsewhere, which are no slips.

    Raises:
        ConfigError: a field that is no option and holds no list, such a slip, or a list of something else than names.
    """
    source = f"{SOURCE}.datarc"
    own = [name for name, value in datarc.items() if isinstance(value, list | tuple) and name not in {*FIELDS, *SPLITS}]
    slips = [name for name in own if name not in used and _meant(name) not in (None, *datarc)]
    check_fields(datarc, {*FIELDS, *SPLITS, *own} - {*slips}, source=source)
    check_lists(datarc, (*SPLITS, *own), source=source)
    if empty := [name for name in (*SPLITS, *own) if datarc.get(name) in ([], ())]:
        raise ConfigError(f"{empty[0]} must name at least one table of lengths", source=source)
    return tuple(name for name, value in datarc.items() if isinstance(value, list | tuple)) or SPLITS


def _meant(name: str) -> str | None:
    """The split of LibriSpeech that a name looks like, if it is not one that is derived from it."""
    close = difflib.get_close_matches(str(name), SPLITS, n=1, cutoff=0.8)
    return close[0] if close and close[0] not in str(name) else None


def percent(heard: Iterable[Sequence[str]], said: Iterable[Sequence[str]]) -> float:
    """Summed edit distance per hundred tokens of the references (S3PRL's order of operations, so that its printed digits come out)."""
    pairs = list(zip(heard, said, strict=True))
    return 100 * sum(edit_distance(*pair) for pair in pairs) / max(1, sum(len(reference) for _, reference in pairs))


def _accept_without_letters(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """S3PRL's checkpoints do not hold the letters, which are those of char.dict, and say by a WER below 100 that it has been reached."""
    score = state.get(f"{prefix}best_score", module.best_score)
    state[f"{prefix}_extra_state"] = {
        "letters": module.dictionary.symbols,
        "has_best": bool(score.item() < 100),
        **state.get(f"{prefix}_extra_state", {}),
    }
