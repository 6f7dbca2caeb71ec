"""Speaker identification on VoxCeleb1: which of the training speakers says something else here (SUPERB's SID)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from downstream.blocks.recording_classifier import RecordingClassifier
from downstream.blocks.recordings import Recording
from downstream.blocks.utterance_classifier import Vocabularies

from .corpus import Line, Places, places_of, read_list, speakers_of

# Eight seconds at 16 kHz.
LONGEST = 128000
_FIRST_SPEAKER = 10001


class DownstreamExpert(RecordingClassifier):
    """Projector, pooling and linear classifier over the speakers of the corpus; the metric is accuracy.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc`` and ``modelrc`` as in config.yaml.
        expdir: the experiment folder, where the places of the recordings are kept.
        mode: in ``"train"`` the speakers come from the list; otherwise a checkpoint brings them.
    """

    tag = Path(__file__).resolve().parent.name

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
        self.take_datarc(downstream_expert["datarc"], {"file_path", "meta_data", "max_timestep"}, counts={"max_timestep"})
        self.longest = self.datarc.get("max_timestep", LONGEST)
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
