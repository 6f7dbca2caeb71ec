"""Speaker identification on VoxCeleb1: which of the training speakers says something else here (SUPERB's SID)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE
from downstream.blocks.recordings import Recording, recording_loader
from downstream.blocks.utterance_classifier import UtteranceClassifier, Vocabularies
from utility.training.fields import check_counts, check_fields

from .corpus import Line, Places, places_of, read_list, speakers_of

SIZES = ("train_batch_size", "eval_batch_size")
# Eight seconds at 16 kHz.
LONGEST = 128000
_FIRST_SPEAKER = 10001


class DownstreamExpert(UtteranceClassifier):
    """Projector, pooling and linear classifier over the speakers of the corpus; the metric is accuracy.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder, where the places of the recordings are kept.
        mode: in ``"train"`` the speakers come from the list; otherwise a checkpoint brings them.
    """

    tag = Path(__file__).resolve().parent.name
    answers_in_training = False
    single_precision = True

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
        self.datarc = downstream_expert["datarc"]
        fields = {"file_path", "meta_data", "max_timestep", "num_workers", *SIZES}
        check_fields(self.datarc, fields, SIZES, source=f"{SOURCE}.datarc")
        check_counts(self.datarc, {**dict.fromkeys((*SIZES, "max_timestep"), 1), "num_workers": 0}, source=f"{SOURCE}.datarc")
        speakers = speakers_of(self._lines, self.datarc["meta_data"]) if mode == "train" else ["?"]
        self.build(upstream_dim, downstream_expert["modelrc"], {"speaker": speakers})
        self.read_ahead()

    @cached_property
    def _lines(self) -> list[Line]:
        (path,) = self.needed("meta_data")
        return read_list(path)

    @cached_property
    def _places(self) -> Places:
        root, path = self.needed("file_path", "meta_data")
        return places_of(root, path, self._lines, self.expdir)

    def published_vocabularies(self, outputs: int) -> Vocabularies:
        """S3PRL numbers its outputs by the numbers of the speakers: ``id10001`` and so on."""
        return {"speaker": [f"id{_FIRST_SPEAKER + number}" for number in range(outputs)]}

    def read_corpus(self, split: str) -> list[Recording]:
        """The recordings of a split.

        Raises:
            ConfigError: the config does not name corpus or list.
            DataError: corpus or list are missing or are not what they should be.
        """
        return self._places.recordings(self._lines, split, self.vocabularies["speaker"], self.datarc["meta_data"])

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, labels, names)``. Only the training split is shuffled, and only its recordings are cut."""
        training = split == self.train_split
        longest = self.datarc.get("max_timestep", LONGEST) if training else None
        size = self.datarc[SIZES[not training]]
        return recording_loader(self.corpus_of(split), size, self.datarc.get("num_workers", 0), shuffle=training, longest=longest)
