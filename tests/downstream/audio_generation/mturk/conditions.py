"""Listening tests of hums, and what a rater says of them; the markup of pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from downstream.audio_generation.mturk import turk_create_batch
from downstream.audio_generation.mturk.rating import Ratings
from downstream.audio_generation.mturk.server import RatingServer
from utility.audio.io import save_audio

VOID = {"input", "meta", "br", "link"}


class Markup(HTMLParser):
    """Elements and their attributes; fails where a tag is not closed in its place."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def batched(
    place: Path, *more: str, methods: tuple[str, ...] = ("ours", "test"), count: int = 4, size: int = 1, pitch: float = 300
) -> Path:
    """A condition of hums, ready to be rated."""
    for row, method in enumerate(methods):
        for number in range(count):
            wave = 0.1 * np.sin(2 * np.pi * (pitch + 100 * row) * np.arange(8000) / 16000)
            save_audio(place / "in" / method / f"{number}.wav", wave, 16000)
    words = ["--condition", "hums", "--input_dir", str(place / "in"), "--output_dir", str(place / "final"), "--batch_size", str(size)]
    assert turk_create_batch.main([*words, "--methods", *methods, *more]) == 0
    return place / "final/hums"


@contextmanager
def serving(folder: Path, ratings: Ratings) -> Iterator[RatingServer]:
    """A server in a thread of its own, at a port that was free."""
    with RatingServer(("127.0.0.1", 0), folder, ratings) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            ratings.close()


def answers(quality: int = 3, musicality: int = 4) -> dict[str, object]:
    return {f"recording_{n}_{q}": v for n in range(2) for q, v in (("quality", quality), ("musicality", musicality))}
