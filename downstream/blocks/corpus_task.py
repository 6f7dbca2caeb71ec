"""A task whose corpus is read split by split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstream.interfaces import DownstreamBase
from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import check_texts

SOURCE = "config.downstream_expert"


class CorpusTask(DownstreamBase):
    """Reads each split once, at its first use; a training finds out at its start whether all that it will need is there.

    A task fills ``datarc`` in its constructor, calls :meth:`read_ahead` at the end of it and says in :meth:`read_corpus` what a split is.

    Args:
        expdir: the experiment folder.
        mode: only in ``"train"`` something is read ahead.
        runner: the field of that name in the config, which says what is trained on and evaluated.

    Attributes:
        datarc: where the corpus lies and how it is read, as in config.yaml; ``datarc_source`` is what errors call it.
        train_split: what is trained on.
        evaluated: what is evaluated while training goes on.
    """

    datarc: Mapping[str, Any]
    datarc_source = f"{SOURCE}.datarc"

    def __init__(self, expdir: str | Path, mode: str | None = None, runner: Mapping[str, Any] | None = None, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        self.train_split = (runner or {}).get("train_dataloader") or "train"
        self.evaluated = tuple((runner or {}).get("eval_dataloaders") or ())
        self._needed = (self.train_split, *self.evaluated) if mode == "train" else ()
        self._corpora: dict[str, Any] = {}

    def read_ahead(self) -> None:
        """Reads what the run will need."""
        for split in self._needed:
            self.corpus_of(split)

    def read_corpus(self, split: str) -> Any:
        """What the task knows about a split, without its audio.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: the corpus is missing or is not what it should be.
        """
        raise NotImplementedError

    def corpus_of(self, split: str) -> Any:
        """What :meth:`read_corpus` gives, read at the first call.

        Raises:
            UnknownNameError: no such split.
        """
        if split not in self.splits:
            raise UnknownNameError("split", split, self.splits)
        if split not in self._corpora:
            self._corpora[split] = self.read_corpus(split)
        return self._corpora[split]

    def needed(self, *fields: str) -> list[Any]:
        """The values of fields of ``datarc`` that a corpus cannot be read without: texts, or what a task has for the name of a split.

        Raises:
            ConfigError: some have no value, or one that is no text; all of them are named.
        """
        missing = [field for field in fields if not self.datarc.get(field)]
        if missing:
            raise ConfigError([f"field {field!r} is missing" for field in missing], source=self.datarc_source)
        check_texts(self.datarc, [field for field in fields if field not in self.splits], source=self.datarc_source)
        return [self.datarc[field] for field in fields]
