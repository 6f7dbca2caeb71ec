"""Error rates against S3PRL's recorded ones and the reference distance."""

from __future__ import annotations

import json
import random

import pytest

from utility.metrics.accuracy import accuracy
from utility.metrics.error_rates import cer, edit_distance, error_rate, per, uer, wer


def recorded(golden, case: str) -> list[tuple]:
    folder = golden(f"tasks/text/{case}")
    params, outputs = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    return [(*pair, expected) for pair, expected in zip(params["pairs"], outputs, strict=True)]


def test_recorded_rates(golden):
    """S3PRL cuts to the shorter list, which is refused here, and divides by zero where there is no reference."""
    compared = 0
    for hypotheses, references, expected in recorded(golden, "wer_per_cer"):
        if len(hypotheses) != len(references):
            with pytest.raises(ValueError, match=r"shorter|longer"):
                wer(hypotheses, references)
            references = references[: len(hypotheses)]
        for name, measure in (("wer", wer), ("per", per), ("cer", cer), ("wer", uer)):
            if isinstance(expected[name], float):
                assert measure(hypotheses, references) == expected[name]
                compared += 1
            else:
                assert not "".join(references)
                assert measure(hypotheses, references) == float(any(hypotheses))
    assert compared == 74


def test_recorded_percentages(golden):
    """The letter recogniser counts in percent, splits at any white space and calls an empty set of references 100 %."""
    for hypotheses, references, expected in recorded(golden, "wer_per_cer"):
        references = references[: len(hypotheses)]
        letters = 100 * error_rate(hypotheses, references, empty=1.0)
        words = 100 * error_rate([text.split() for text in hypotheses], [text.split() for text in references], empty=1.0)
        assert [letters, words] == pytest.approx(expected["asr_uer_wer_percent"], rel=1e-12)


def test_recorded_accuracy(golden):
    for answers, truth, expected in recorded(golden, "accuracy"):
        assert accuracy(answers, truth) == expected


@pytest.mark.parametrize(("answers", "truth"), [([], []), ([1], [1, 2]), ({"a": 1}, {"b": 1})])
def test_accuracy_of_nothing_or_of_other_items(answers, truth):
    with pytest.raises(ValueError):
        accuracy(answers, truth)


def test_distances_equal_the_reference():
    editdistance = pytest.importorskip("editdistance")
    draw = random.Random(0)
    for _ in range(300):
        words = [[draw.choice(["a", "bb", "ccc", "d e", ""]) for _ in range(draw.randrange(12))] for _ in range(2)]
        texts = ["".join(draw.choice("ab cé") for _ in range(draw.randrange(30))) for _ in range(2)]
        assert edit_distance(*words) == editdistance.eval(*words)
        assert edit_distance(*texts) == editdistance.eval(*texts)


def test_published_traps():
    assert wer([""], ["a b c"]) == 1.0
    assert wer(["a b"], [""]) == 2.0, "the empty text is one empty word"
    assert wer(["a  b"], ["a b"]) == 0.5, "two spaces hold an empty word"
    assert wer(["a b", "c"], ["a b", "d e f"]) == 3 / 5, "summed over the corpus, not averaged over utterances"


def test_a_hundred_thousand_utterances_are_counted_at_once():
    texts = ["the old man carried a wooden chair to the harbour"] * 100_000
    assert wer((text.replace("old", "cold") for text in texts), texts) == pytest.approx(0.1)
    assert cer((text.replace("old", "cold") for text in texts), texts) == pytest.approx(1 / 49)
