"""Slot metrics against S3PRL's recorded ones."""

from __future__ import annotations

import json

import pytest

from utility.metrics.error_rates import cer, wer
from utility.metrics.slots import SLOT_METRICS, paired, slots_of, untagged


def test_recorded_metrics(golden):
    """Where S3PRL divides by zero, nothing is measured; values that it cannot parse are ordinary ones here."""
    folder = golden("tasks/text/slot_metrics")
    batches = json.loads((folder / "params.json").read_text())["batches"]
    outputs = json.loads((folder / "outputs.json").read_text())
    compared = 0
    for batch, expected in zip(batches, outputs, strict=True):
        assert wer(batch["hyp"], batch["ref"]) == expected["wer"]
        assert cer(batch["hyp"], batch["ref"]) == expected["cer"]
        pairs = paired(batch["hyp"], batch["ref"])
        for (hypothesis, reference), parsed in zip(pairs, expected["per_pair"], strict=True):
            if isinstance(parsed["slot_type_f1"], float):
                assert [reference, hypothesis] == parsed["slot_dicts(ref,hyp)"]
                assert SLOT_METRICS["slot_type_f1"]([(hypothesis, reference)]) == parsed["slot_type_f1"]
        for name, measure in SLOT_METRICS.items():
            if isinstance(expected[name], float):
                assert measure(pairs) == pytest.approx(expected[name], rel=1e-12), name
                compared += 1
            elif expected[name] == {"error": "ZeroDivisionError"}:
                assert measure(pairs) is None
            else:
                assert expected[name] == {"error": "ValueError"}
                assert measure(pairs) is not None
    assert compared == 78


def test_values_with_any_characters():
    assert slots_of("PLAY B-artist AC;DC: E-artist") == [("artist", "AC;DC:")]
    pairs = paired(["B-time 5:30 E-time"], ["B-time 5 30 E-time"])
    assert [measure(pairs) for measure in SLOT_METRICS.values()] == [1.0, 0.25, 1.0, 0.0, 0.0]


def test_tags_within_values():
    text = "B-artist B-playlist QUEEN E-playlist E-artist"
    assert slots_of(text) == [("artist", "B-playlist QUEEN E-playlist")]
    assert slots_of(text, hypothesis=True) == [("artist", "QUEEN")]
    assert untagged(f"PLAY {text} NOW") == "PLAY QUEEN NOW"
    assert untagged("B-x A E-x B-y B") == "A B"


def test_the_closing_tag_is_a_prefix():
    assert slots_of("B-object A E-object_name B E-object") == [("object", "A")]


def test_no_utterance_is_not_measured():
    assert [measure(paired([], [])) for measure in SLOT_METRICS.values()] == [None] * 5
    with pytest.raises(ValueError, match="longer"):
        paired([], [""])
