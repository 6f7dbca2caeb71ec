"""A listening test in a browser of today: recordings play, answers are required, a batch is submitted; skipped without Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from downstream.audio_generation.mturk import turk_create_batch
from downstream.audio_generation.mturk.hits import read_hits
from downstream.audio_generation.mturk.pages import PAGES
from downstream.audio_generation.mturk.rating import Ratings
from downstream.audio_generation.mturk.server import RatingServer
from tests.downstream.audio_generation.mturk.conditions import serving
from tests.support.chromium import Chromium
from utility.audio.io import save_audio


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    running = Chromium(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RatingServer]:
    """Two batches of two recordings."""
    for method in ("ours", "test"):
        for number in range(2):
            save_audio(tmp_path / f"in/{method}/{number}.wav", 0.1 * np.sin(np.arange(16000) / 9), 16000)
    words = ["--condition", "hums", "--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "final")]
    assert turk_create_batch.main([*words, "--methods", "ours", "test"]) == 0
    folder = tmp_path / "final/hums"
    ratings = Ratings(read_hits(folder), PAGES[request.param](2), tmp_path / "results.csv")
    with serving(folder, ratings) as server:
        yield server


@pytest.mark.parametrize("served", ["music", "speech"], indirect=True)
def test_a_batch_in_a_browser(served: RatingServer, browser: Chromium, tmp_path: Path):
    browser.open(f"http://127.0.0.1:{served.server_port}/")
    browser.value("document.querySelector('[name=worker]').value = 'Ann'; document.querySelector('button').click()")
    browser.wait("document.querySelectorAll('audio').length === 2")
    browser.wait("[...document.querySelectorAll('audio')].every(audio => audio.readyState === 4 && audio.duration === 1)")
    play = "const [one, two] = document.querySelectorAll('audio'); one.loop = true; await one.play(); await two.play(); return one.paused"
    assert browser.value(f"(async () => {{ {play}; }})()") is True  # one recording at a time

    browser.value("document.querySelector('button').click()")
    assert browser.value("document.querySelectorAll(':invalid').length") > 0
    assert served.ratings.entries == []

    names = browser.value("[...new Set([...document.querySelectorAll('[type=radio]')].map(button => button.name))]")
    assert names == [question.name for question in served.ratings.page.questions]
    for name in names[:-1]:
        browser.value(f"document.querySelector('[name={name}][value=\"2\"]').click()")
    browser.value("document.querySelector('button').click()")
    assert served.ratings.entries == []  # the last question has no answer yet
    browser.value(f"document.querySelector('[name={names[-1]}][value=\"5\"]').parentElement.click()")
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.screenshot(tmp_path / "batch.png").stat().st_size > 10_000
    browser.value("document.querySelector('form').dataset.old = '1'; document.querySelector('button').click()")
    browser.wait("document.querySelector('form') && !document.querySelector('form').dataset.old && document.title.startsWith('Batch')")
    (entry,) = served.ratings.entries
    assert entry["answers"] == {**dict.fromkeys(names[:-1], "2"), names[-1]: "5"}
    assert browser.value("document.querySelector('[name=hit]').value") != str(entry["hit"])
