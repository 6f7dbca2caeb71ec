"""Diarization error rates against dscore and pyannote (recorded), against frames counted one by one, and by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.metrics.diarization import merged, pooled, score_recording, score_recordings
from utility.metrics.rttm import read_rttm, read_uem

CASES = ["empty_system", "extra_speaker", "one_speaker_found", "perfect", "real_dscore_fixture", "real_es2014c_part"]
CASES += ["synthetic_0", "synthetic_1", "synthetic_2"]


@pytest.mark.parametrize("case", CASES)
def test_recorded_scores(golden, case: str):
    """dscore's DER within 0.0001 percent and its seconds; pyannote's; dscore's JER, which counts frames of 10 ms, within 0.4."""
    folder: Path = golden(f"tasks/der/{case}")
    expected = json.loads((folder / "outputs.json").read_text())
    references, systems = (read_rttm(folder / f"files/{side}.rttm", empty=True) for side in ("ref", "sys"))
    checked = 0
    for name, (collar, skip_overlap, uem) in json.loads((folder / "params.json").read_text())["settings"].items():
        regions = read_uem(folder / "files/x.uem") if uem else None
        scores = score_recordings(references, systems, regions, collar, skip_overlap)
        for peer in ("dscore_nryant", "dscore_ftshijt"):
            rows = expected[f"{name}/{peer}"]
            for row, score in [*((rows[file], score) for file, score in scores.items()), (rows["OVERALL"], pooled(scores.values()))]:
                assert 100 * score.der == pytest.approx(row["DER"], abs=1e-4)
                assert 100 * score.jer == pytest.approx(row["JER"], abs=0.4)
                if "SCORED" in row:
                    seconds = (score.scored, score.missed, score.false_alarm, score.confusion)
                    assert seconds == pytest.approx([row[key] for key in ("SCORED", "MISS", "FA", "ERROR")], abs=1e-6)
        for file, row in expected[f"{name}/pyannote"]["per_file"].items():
            assert scores[file].der == pytest.approx(row["diarization error rate"], abs=1e-6)
            assert scores[file].confusion == pytest.approx(row["confusion"], abs=1e-6)
        assert pooled(scores.values()).der == pytest.approx(expected[f"{name}/pyannote"]["overall_der"], abs=1e-6)
        checked += 1
    assert checked >= 4


def test_published_score_of_a_meeting(shared: Path):
    """ES2014c: 7.16923618 percent by md-eval (published beside the pair), a collar of 0.25 s, overlap left out."""
    folder = shared / "data/rttm_pairs"
    pair = [read_rttm(folder / f"speechbrain_{side}_ES2014c.rttm")["ES2014c"] for side in ("ref", "sys")]
    score = score_recording(*pair, collar=0.25, skip_overlap=True)
    assert 100 * score.der == pytest.approx(7.16923618, abs=1e-6)
    assert score.missed == pytest.approx(0, abs=1e-9)
    assert score.false_alarm == pytest.approx(0, abs=1e-9)


@st.composite
def speakers(draw) -> dict[str, np.ndarray]:
    """Up to three speakers with turns on whole seconds."""
    turn = st.tuples(st.integers(0, 20), st.integers(1, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    return {name: np.array(draw(st.lists(turn, min_size=1, max_size=4)), float) for name in "abc"[: draw(st.integers(0, 3))]}


def by_frames(reference: dict, system: dict, collar: int, skip: bool) -> float:
    """The error rate by a loop over frames of a second and all mappings; None without speech."""
    ends = [edge for turns in (*reference.values(), *system.values()) for edge in turns.ravel()]
    edges = {edge for turns in reference.values() for edge in merged(turns).ravel()}
    frames = []
    for second in range(int(min(ends)), int(max(ends))):
        near = any(edge - collar < second + 0.5 < edge + collar for edge in edges)
        ref, sys = ({n for n, turns in side.items() if any(a <= second < b for a, b in turns)} for side in (reference, system))
        if not near and not (skip and len(ref) > 1):
            frames.append((ref, sys))
    scored = sum(len(ref) for ref, _ in frames)
    names = [*system, *[None] * len(reference)]
    wrong = min(
        sum(max(len(ref), len(sys)) - sum(dict(zip(reference, chosen, strict=True))[who] in sys for who in ref) for ref, sys in frames)
        for chosen in set(itertools.permutations(names, len(reference)))
    )
    return wrong / scored if scored else None


@settings(max_examples=120, deadline=None)
@given(speakers(), speakers(), st.integers(0, 1), st.booleans())
def test_it_equals_a_count_of_frames(reference, system, collar, skip):
    if not reference and not system:
        return
    expected, score = by_frames(reference, system, collar, skip), score_recording(reference, system, None, collar, skip)
    if expected is None:
        assert score.scored == 0
    else:
        assert score.der == pytest.approx(expected)


def test_who_is_who():
    reference = {"anna": np.array([[0, 4]]), "ben": np.array([[4.0, 6]]), "eve": np.array([[6, 7]])}
    score = score_recording(reference, {"1": np.array([[4, 7]]), "2": np.array([[0, 3], [2, 5]])})
    assert score.mapping == {"1": "ben", "2": "anna"}
    assert (score.scored, score.missed, score.false_alarm, score.confusion) == (7, 0, 1, 1)
    assert score.jaccard == pytest.approx((1 / 5, 1 / 3, 1))


def test_nobody_speaks():
    nothing = score_recording({}, {})
    assert (nothing.der, nothing.jer, nothing.scored) == (0, 0, 0)
    alarm = score_recording({}, {"x": np.array([[0, 1]])})
    assert (alarm.der, alarm.jer) == (float("inf"), 1)
    assert pooled([alarm, score_recording({"a": np.array([[0, 2]])}, {})]).der == 1.5


def test_only_regions_are_scored():
    both = {"r": {"a": np.array([[0.0, 10]])}}, {"r": {"x": np.array([[5.0, 20]])}}
    scores = score_recordings(*both, {"r": np.array([[0, 1], [9, 11]])})
    assert (scores["r"].scored, scores["r"].missed, scores["r"].false_alarm) == (2, 1, 1)
    assert list(score_recordings(*both, {"r": np.array([[0, 1]]), "silent": np.array([[0, 9]])})) == ["r", "silent"]


def test_turns_are_merged():
    assert merged(np.array([[5, 6], [0, 2], [1, 3], [3, 4], [7, 7]])).tolist() == [[0, 4], [5, 6]]
    assert merged(np.zeros((0, 2))).shape == (0, 2)
