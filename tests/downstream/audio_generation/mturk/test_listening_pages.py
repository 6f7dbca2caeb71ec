"""The pages of listening tests as markup."""

from __future__ import annotations

from collections import Counter

import pytest

from downstream.audio_generation.mturk import template_music, template_speech
from tests.downstream.audio_generation.mturk.conditions import Markup


def printed(program, count: int, capsys: pytest.CaptureFixture) -> Markup:
    assert program.main([str(count)]) == 0
    return Markup(capsys.readouterr().out)


def test_the_page_of_music(capsys: pytest.CaptureFixture):
    page = printed(template_music, 5, capsys)
    assert [audio["src"] for audio in page.all("audio")] == [f"${{recording_{number}_url}}" for number in range(5)]
    assert all("controls" in audio for audio in page.all("audio"))
    buttons = page.all("input")
    assert all(button["type"] == "radio" and "required" in button for button in buttons)
    names = [f"recording_{number}_{question}" for number in range(5) for question in ("quality", "musicality")]
    assert Counter(button["name"] for button in buttons) == dict.fromkeys(names, 5)
    assert {button["value"] for button in buttons} == set("12345")
    assert not page.all("form")  # MTurk has one of its own


def test_the_page_of_speech(capsys: pytest.CaptureFixture):
    page = printed(template_speech, 10, capsys)
    assert len(page.all("audio")) == 10
    values: dict[str, set[str]] = {}
    for button in page.all("input"):
        assert "required" in button
        values.setdefault(button["name"], set()).add(button["value"])
    assert values.pop("quality") == values.pop("diversity") == set("12345")
    assert {name: len(found) for name, found in values.items()} == {
        f"recording_{number}_{question}": size for number in range(10) for question, size in (("digit", 10), ("intelligibility", 5))
    }


@pytest.mark.parametrize("program", [template_music, template_speech])
def test_a_page_without_recordings(program, capsys: pytest.CaptureFixture):
    assert program.main(["0"]) == 2
    assert "N must be at least 1, not 0" in capsys.readouterr().err
