"""CTC's loss and its greedy decoding against plain definitions; text files; the scan of a corpus."""

from __future__ import annotations

import itertools
import logging
import math
from pathlib import Path

import pytest
import torch

from downstream.blocks.ark import read_ark, write_ark
from downstream.blocks.ctc import collapse, ctc_loss, frames_needed, greedy
from downstream.blocks.librispeech import scan_split
from utility.errors import DataError


def merged(path: list[int], blank: int) -> list[int]:
    """What a path of ids says, by the definition."""
    return [key for key, _ in itertools.groupby(path) if key != blank]


def test_loss_sums_over_all_paths():
    torch.manual_seed(0)
    logits, lengths, labels = torch.randn(2, 4, 3), torch.tensor([4, 3]), [[1, 2], [2, 2]]
    expected = []
    for item, length, label in zip(logits, lengths, labels, strict=True):
        scores = item[:length].log_softmax(-1)
        paths = [path for path in itertools.product(range(3), repeat=int(length)) if merged(list(path), 0) == label]
        total = sum(math.exp(sum(scores[t, index].item() for t, index in enumerate(path))) for path in paths)
        expected.append(-math.log(total) / len(label))
    assert ctc_loss(logits, lengths, labels).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    flipped = logits.flip(-1)
    assert ctc_loss(flipped, lengths, [[1, 0], [0, 0]], blank=2).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_labels_longer_than_the_frames():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3, requires_grad=True)
    lengths, labels = torch.tensor([2, 5]), [[1, 2, 1], [1]]
    assert ctc_loss(logits, lengths, labels, zero_infinity=False).isinf()
    loss = ctc_loss(logits, lengths, labels)
    loss.backward()
    assert loss.item() == pytest.approx(ctc_loss(logits[1:], lengths[1:], labels[1:]).item() / 2)
    assert logits.grad[0].abs().max() == 0
    assert logits.grad.isfinite().all()
    assert ctc_loss(logits, torch.tensor([0, 0]), labels).item() == 0
    assert [frames_needed(label) for label in ([1, 2, 1], [1, 1, 1], [])] == [3, 5, 0]


def test_greedy_decoding_equals_the_definition():
    torch.manual_seed(0)
    ids = torch.randint(0, 4, (50, 30))
    lengths = torch.randint(0, 31, (50,))
    for blank, drop in ((0, ()), (0, (1,)), (3, (0, 2))):
        expected = [[i for i in merged(path[:n], blank) if i not in drop] for path, n in zip(ids.tolist(), lengths.tolist(), strict=True)]
        assert collapse(ids, lengths, blank, drop) == expected
        assert collapse(ids, None, blank, drop) == [[i for i in merged(path, blank) if i not in drop] for path in ids.tolist()]
    logits = torch.nn.functional.one_hot(ids, 4).float()
    assert greedy(logits, lengths) == collapse(ids, lengths)


def test_a_dropped_id_separates_equal_ones():
    assert collapse(torch.tensor([[2, 1, 2, 2, 0, 2]]), drop=(1,)) == [[2, 2, 2]]


def test_ark(tmp_path: Path):
    write_ark(tmp_path / "new/test-hyp.ark", ["u1", "u2", "u3"], ["A B", "", " É  x "])
    assert (tmp_path / "new/test-hyp.ark").read_text(encoding="utf-8") == "u1 A B\nu2 \nu3  É  x \n"
    assert read_ark(tmp_path / "new/test-hyp.ark") == {"u1": "A B", "u2": "", "u3": " É  x "}


def lay_out(root: Path, texts: dict[str, str], extension: str = "flac") -> None:
    for name, text in texts.items():
        speaker, chapter, _ = name.split("-")
        folder = root / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.{extension}").touch()
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {text}\n" if text else f"{name}\n")


def test_scan_is_sorted_and_opens_no_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lay_out(tmp_path / "dev", {"9-2-0001": "B", "10-3-0000": "A C", "9-2-0000": ""})
    lay_out(tmp_path / "dev", {"9-4-0000": "WAVE"}, "WAV")
    (tmp_path / "dev/9/2/9-2-0002.flac").touch()
    (tmp_path / "dev/9/2/.9-2-0001.flac").touch()
    with caplog.at_level(logging.WARNING):
        found = scan_split(tmp_path, "dev")
    assert [(u.name, u.text) for u in found] == [("10-3-0000", "A C"), ("9-2-0000", ""), ("9-2-0001", "B"), ("9-4-0000", "WAVE")]
    assert all(Path(u.path).is_file() for u in found)
    assert len(caplog.records) == 1
    assert "1 recordings have no line" in caplog.text


def test_scan_of_what_is_not_there(tmp_path: Path):
    lay_out(tmp_path / "dev-clean", {"1-2-0000": "A"})
    (tmp_path / "empty").mkdir()
    for root, split, sentence in (
        (tmp_path / "none", "dev", "folder .*none does not exist"),
        (tmp_path, "dev-claen", "did you mean 'dev-clean'"),
        (tmp_path, "empty", "no recording with a line"),
    ):
        with pytest.raises(DataError, match=f"^libri_root: .*{sentence}"):
            scan_split(root, split, "libri_root")
