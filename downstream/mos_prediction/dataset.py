"""Ratings as batches of waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from utility.errors import DataError

from .audio import load, repeated, segments
from .models.parts import Conditions
from .table import Rating

PADDINGS = ("none", "repetitive", "zero_padding")
SEGMENTS = "segments"


@dataclass(frozen=True)
class Vocabularies:
    """What a predictor knows by number.

    Args:
        listeners: ids; the mean listener is one more, behind them. None where it does not ask.
        domains: how many data sets a pool has; None where it does not ask.
        symbols: characters of phoneme strings, the first of which is padding; "" where it does not ask.
    """

    listeners: list[str] | None = None
    domains: int | None = None
    symbols: str = ""

    def conditions(self, ratings: Sequence[Rating], device: torch.device) -> Conditions:
        """What the predictor is told of a batch; unknown listeners are the mean listener.

        Raises:
            DataError: a data set or a symbol that the training did not have.
        """
        listeners = domains = phonemes = references = None
        if self.listeners is not None:
            places = {name: place for place, name in enumerate(self.listeners)}
            listeners = torch.tensor([places.get(rating.listener, len(places)) for rating in ratings], device=device)
        if self.domains is not None and all(rating.domain is not None for rating in ratings):
            beyond = next((rating for rating in ratings if rating.domain >= self.domains), None)
            if beyond:
                raise DataError(f"the sample {beyond.sample} is of data set {beyond.domain}; the training had 0 to {self.domains - 1}")
            domains = torch.tensor([rating.domain for rating in ratings], device=device)
        if self.symbols and all(rating.phoneme for rating in ratings):
            phonemes = self._texts([rating.phoneme for rating in ratings], device)
        if self.symbols and all(rating.reference for rating in ratings):
            references = self._texts([rating.reference for rating in ratings], device)
        return Conditions(listeners, domains, phonemes, references)

    def check(self, ratings: Sequence[Rating], texts: Sequence[str], field: str) -> None:
        """Finds before a training what :meth:`conditions` would refuse in the midst of it.

        Args:
            ratings: of a table.
            texts: which of ``phoneme`` and ``reference`` the predictor reads.
            field: the config field that names the table.

        Raises:
            DataError: a sample without data set or text, or with one that is unknown.
        """
        for rating in ratings:
            if self.domains is not None and not 0 <= (-1 if rating.domain is None else rating.domain) < self.domains:
                given = "has no domain_idx" if rating.domain is None else f"is of data set {rating.domain}"
                raise DataError(f"{field}: the sample {rating.sample} {given}; this predictor needs one of 0 to {self.domains - 1}")
            for column in texts:
                text = getattr(rating, column)
                if not text:
                    raise DataError(f"{field}: the sample {rating.sample} has no {column}, which this predictor reads")
                if unknown := sorted(set(text) - set(self.symbols)):
                    where = f"{field}: the {column} of the sample {rating.sample}"
                    raise DataError(f"{where} has {unknown[0]!r}, which is not among the symbols of the config")

    def _texts(self, texts: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        unknown = sorted({symbol for text in texts for symbol in text} - set(self.symbols))
        if unknown:
            raise DataError(f"the phoneme symbol {unknown[0]!r} is not among the symbols of the config")
        numbers = [torch.tensor([self.symbols.index(symbol) for symbol in text]) for text in texts]
        return pad_sequence(numbers, batch_first=True).to(device), torch.tensor([len(text) for text in texts])


class RatingDataset(Dataset):
    """Items are (waveform at 16 kHz, rating).

    Args:
        ratings: the rows.
        seconds: how much of a recording is heard, see :func:`.audio.load`.
        padding: ``none``: recordings keep their lengths; ``repetitive``: each is repeated to the longest of its batch, for predictors
            that take statistics over whole batches; ``zero_padding``: zeros follow instead; ``segments``: each is cut into segments.
    """

    def __init__(self, ratings: Sequence[Rating], seconds: float | None, padding: str = "none"):
        self.ratings, self.seconds, self.padding = ratings, seconds, padding

    def __len__(self) -> int:
        return len(self.ratings)

    def __getitem__(self, index: int) -> tuple[Tensor, Rating]:
        return torch.from_numpy(load(self.ratings[index].wav_path, self.seconds)), self.ratings[index]

    def collate_fn(self, items: list[tuple[Tensor, Rating]]) -> tuple[list[Tensor], list[Rating], list[int]]:
        """``(wavs, ratings, counts)``: how many of the waveforms belong to each rating, one after the other."""
        wavs, ratings = map(list, zip(*items, strict=True))
        if self.padding == SEGMENTS:
            parts = [segments(wav.numpy()) for wav in wavs]
            return [torch.from_numpy(part) for own in parts for part in own], ratings, [len(own) for own in parts]
        longest = max(map(len, wavs))
        if self.padding == "repetitive":
            wavs = [torch.from_numpy(repeated(wav.numpy(), longest)) for wav in wavs]
        elif self.padding == "zero_padding":
            wavs = [torch.nn.functional.pad(wav, (0, longest - len(wav))) for wav in wavs]
        return wavs, ratings, [1] * len(wavs)
