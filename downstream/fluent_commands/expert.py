"""Intent classification on Fluent Speech Commands: action, object and location of a command (SUPERB's IC)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from downstream.blocks.recording_classifier import RecordingClassifier
from downstream.blocks.recordings import Recording
from downstream.blocks.utterance_classifier import Vocabularies
from utility.errors import DataError

from .corpus import SLOTS, read_table, recordings_of, table_of, vocabularies_of


class DownstreamExpert(RecordingClassifier):
    """Projector, pooling and linear classifier with the values of three slots side by side; a command is right if all three are.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder.
        mode: in ``"train"`` the values come from the table of training; otherwise a checkpoint brings them.
    """

    tag = Path(__file__).resolve().parent.name
    separator, extension = ",", "csv"
    answers_in_training = True
    loss_tag = "intent_loss"

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
        self.take_datarc(downstream_expert["datarc"], {"file_path"})
        vocabularies = self._of_training() if mode == "train" else {slot: ["?"] for slot in SLOTS}
        self.build(upstream_dim, downstream_expert["modelrc"], vocabularies)
        self.read_ahead()

    def _of_training(self) -> Vocabularies:
        (root,) = self.needed("file_path")
        return vocabularies_of(read_table(root, "train"))

    def published_vocabularies(self, outputs: int) -> Vocabularies:
        """The values in the table of training, in whose order S3PRL numbers its outputs.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: the table is missing or wrong, or is not that of the checkpoint.
        """
        found = self._of_training()
        if (there := sum(map(len, found.values()))) != outputs:
            raise DataError(f"{table_of(self.datarc['file_path'], 'train')} has {there} values, but the checkpoint {outputs} outputs")
        return found

    def read_corpus(self, split: str) -> list[Recording]:
        """The recordings of a split.

        Raises:
            ConfigError: the config does not name the corpus.
            DataError: the corpus is missing or is not what it should be.
        """
        (root,) = self.needed("file_path")
        return recordings_of(root, split, self.vocabularies)
