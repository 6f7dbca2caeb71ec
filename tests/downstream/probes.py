"""What the tests of the phone probes share: real alignments as frame labels, and the smallest form of such a task."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from downstream.blocks.frame_labels import FrameLabels, read_list
from preprocess.synthesis.phones import FRAME_CLASSES, frame_labels, without_stress
from tests.downstream.baselines import BANDS, UPSTREAM, Baselines, majority
from tests.downstream.librispeech import Layout, as_override, measured, synthetic, write_utterances
from upstream.registry import build
from utility.audio.io import load_audio

# TIMIT's 61 symbols as those of the 41 classes, where they are not the same in capitals (Lee and Hon 1989 fold them so, and further).
_TIMIT = {
    **dict.fromkeys(("h#", "pau", "epi", "bcl", "dcl", "gcl", "pcl", "tcl", "kcl"), "SIL"),
    **dict.fromkeys(("ax", "ax-h"), "AH"),
    **dict.fromkeys(("en", "nx"), "N"),
    **dict.fromkeys(("dx", "q"), "T"),
    "ix": "IH",
    "axr": "ER",
    "ux": "UW",
    "el": "L",
    "em": "M",
    "eng": "NG",
    "hv": "HH",
}


def labelled(layout: Layout, folder: Path) -> str:
    """Fields of a corpus with frame labels, as an argument of ``-o``."""
    return as_override({**layout.datarc, "phone_path": folder})


def prepare_probe(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus, for ``tests/downstream/<probe>/conformance.py``."""
    layout = synthetic(place)
    sizes = as_override({"train_batch_size": 3, "eval_batch_size": 3})
    return {"upstream": "mel", "override": f"{labelled(layout, place / 'phone_labels')},,{sizes},,config.runner.eval_dataloaders=['dev']"}


Aligned = tuple[Path, list[tuple[float, float, str]]]


def timit(folder: Path) -> list[list[Aligned]]:
    """Recordings of timit_sample with their hand-made phones (seconds), a list for each of its ten speakers."""
    speakers = sorted({path.parent for path in folder.rglob("*.phn")})
    return [[(path.with_suffix(".wav"), _phn(path)) for path in sorted(speaker.glob("*.phn"))] for speaker in speakers]


def _phn(path: Path) -> list[tuple[float, float, str]]:
    rows = (line.split() for line in path.read_text().splitlines())
    return [(int(start) / 16000, int(end) / 16000, _TIMIT.get(name, name.upper())) for start, end, name in rows]


def librivox(folder: Path) -> list[Aligned]:
    """Recordings of librivox_pocketsphinx with machine-made phones."""
    found = []
    for path in sorted(folder.rglob("*.phone.json")):
        words = json.loads(path.read_text())["w"]
        phones = [(p["b"], p["b"] + p["d"], without_stress(p["t"])) for word in words for p in word.get("w", [])]
        wav = path.with_name(path.name.replace(".phone.json", ".wav"))
        found.append((wav, [phone for phone in phones if phone[2] in FRAME_CLASSES]))
    return found


def lay_out(out: Path, train: Sequence[Iterable[Aligned]], test: Sequence[Iterable[Aligned]]) -> tuple[Layout, Path]:
    """Aligned recordings in the layout of the task.

    Args:
        out: folder to write into.
        train, test: recordings of each speaker.

    Returns:
        the corpus and the folder of labels.
    """
    labels, lists = out / "phone_labels", {"train": [], "test": []}
    labels.mkdir(parents=True)
    lines = []
    for number, (part, aligned) in enumerate([("train", s) for s in train] + [("test", s) for s in test]):
        aligned = list(aligned)
        names = write_utterances(out / "LibriSpeech", "train-clean-100", 100 + number, 1, ((wav, "NOTHING") for wav, _ in aligned))
        lists[part] += names
        for name, (_, phones) in zip(names, aligned, strict=True):
            lines.append(" ".join([name, *map(str, _frames(phones))]))
    (labels / "converted_aligned_phones.txt").write_text("\n".join(lines) + "\n")
    (labels / "phones.txt").write_text("".join(f"{phone} {index}\n" for index, phone in enumerate(FRAME_CLASSES)))
    for part, names in lists.items():
        (labels / f"{part}_split.txt").write_text("\n".join(names))
    return measured(out / "LibriSpeech"), labels


def _frames(phones: list[tuple[float, float, str]]) -> np.ndarray:
    return frame_labels(phones, phones[-1][1])


def frame_baselines(layout: Layout, labels: Path, regression: bool = True) -> Baselines:
    """Accuracies over the test frames: of the best constant answer, and of a logistic regression on single frames' log mel energies.

    Args:
        layout: the corpus.
        labels: folder of its frame labels.
        regression: do without the second (it is 0 then).
    """
    known = FrameLabels(labels, len(FRAME_CLASSES))
    train, test = (read_list(labels / f"{part}_split.txt") for part in ("train", "test"))
    constant = majority(np.concatenate([known[name] for name in test]).tolist())
    if not regression:
        return Baselines(constant, 0.0)
    (seen, seen_labels), (unseen, truth) = (_log_mel(layout, known, names, step) for names, step in ((train, 20), (test, 5)))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    return Baselines(constant, float(model.fit(seen, seen_labels).score(unseen, truth)))


def _log_mel(layout: Layout, known: FrameLabels, names: Sequence[str], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Every ``step``-th frame of the utterances: (frames, 80) log mel energies and (frames,) classes."""
    upstream, rows, classes = build(UPSTREAM).eval(), [], []
    for name in names:
        speaker, chapter, _ = name.split("-")
        wav = load_audio(layout.root / "train-clean-100" / speaker / chapter / f"{name}.flac", 16000)
        with torch.no_grad():
            frames = upstream([torch.from_numpy(wav)])["hidden_states"][0][0, :, :BANDS]
        count = min(len(frames), len(known[name]))
        rows.append(frames[:count:step].numpy())
        classes.append(known[name][:count:step])
    return np.concatenate(rows), np.concatenate(classes)
