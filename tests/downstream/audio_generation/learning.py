"""What a generator of audio has to beat: the entropy of the codes, alone and given the code before; and a training to compare with it."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from downstream.audio_generation.data.corpora import Corpus
from downstream.audio_generation.data.dataset import CodeDataset
from downstream.audio_generation.models.build import build
from downstream.audio_generation.quantise import Quantiser
from downstream.blocks.sc09 import DIGITS, LISTS
from run_downstream import main
from tests.downstream.audio_generation.layouts import TASK
from utility.audio.io import load_audio, save_audio

RATE = 16000


def entropies(sequences: Iterable[np.ndarray], n_codes: int = 256) -> tuple[float, float]:
    """Bits per code of the empirical distribution of the codes, and of that of each code given the one before it.

    Both are those of the very codes that are scored, so no model of one or two codes can be better.
    """
    pairs, single = np.zeros((n_codes, n_codes)), np.zeros(n_codes)
    for codes in sequences:
        single += np.bincount(codes, minlength=n_codes)
        before = np.concatenate([[n_codes // 2], codes[:-1]])
        pairs += np.bincount(before * n_codes + codes, minlength=n_codes**2).reshape(n_codes, n_codes)
    return _bits(single), _bits(pairs) - _bits(pairs.sum(1))


def _bits(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def codes_of(root: Path, split: str, sample_len: int = RATE) -> list[np.ndarray]:
    """The codes of a split of an SC09 corpus."""
    return [codes.numpy() for _, codes in CodeDataset(Corpus("sc09", str(root), sample_len=sample_len).read(split), Quantiser(), RATE)]


def fsdd(archive: Path, root: Path) -> Path:
    """FSDD's recordings in the layout of SC09: take 0 is tested on, 1-9 validate, the rest is trained on; upsampled to 16 kHz."""
    lines: dict[str, list[str]] = {"dev": [], "test": []}
    with tarfile.open(archive) as tar:
        tar.extractall(root / "original", filter="data")
    for path in sorted((root / "original").rglob("*_*_*.wav")):
        digit, speaker, take = path.stem.split("_")
        name = f"{DIGITS[int(digit)]}/{speaker}_nohash_{take}.wav"
        (root / name).parent.mkdir(exist_ok=True)
        save_audio(root / name, load_audio(path, RATE)[:RATE], RATE)
        if int(take) < 10:
            lines["dev" if int(take) else "test"].append(f"{name}\n")
    for split, file in LISTS.items():
        (root / file).write_text("".join(lines[split]))
    return root


def train(place: Path, root: Path, family: str, steps: int, sample_len: int, batch_size: int, seed: int) -> dict[str, float]:
    """Trains the tiny config of a family.

    Args:
        place: the experiment folder.
        root: an SC09 corpus.
        family: ``sashimi``, ``wavenet``, ``samplernn``.
        steps: updates of ``batch_size`` sequences of ``sample_len`` codes; as many sequences for a network that goes chunk by chunk.
        sample_len, batch_size: as in ``datarc``.
        seed: of the first weights and of the order.

    Returns:
        ``bpb`` on test, ``seconds`` of training and test, ``parameters``.
    """
    content = yaml.safe_load((TASK / f"{family}-tiny.yaml").read_text())
    expert = content["downstream_expert"]
    expert["datarc"] |= {"path": str(root), "sample_len": sample_len, "batch_size": batch_size, "num_workers": 0, "eval_batch_size": 16}
    if expert.get("tbptt"):
        expert["tbptt"]["chunk_len"] = min(1024, sample_len)
        steps *= -(-sample_len // expert["tbptt"]["chunk_len"])
    content["runner"] |= {"total_steps": steps, "eval_step": steps, "save_step": steps, "eval_dataloaders": ["test"], "tensorboard": False}
    start = time.monotonic()
    result = run(place, content, seed)
    parameters = sum(weight.numel() for weight in build(expert["modelrc"]).parameters())
    return {"bpb": result["bpb"]["value"], "seconds": time.monotonic() - start, "parameters": parameters}


def run(place: Path, content: dict[str, Any], seed: int) -> dict[str, Any]:
    """The scores on test after a training.

    Args:
        place: the experiment folder.
        content: the config.
        seed: of the first weights and of the order.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    config = place.parent / f"{place.name}.yaml"
    config.write_text(yaml.safe_dump(content))
    assert (
        main(["-u", "waveform", "-d", "audio_generation", "-p", str(place), "-c", str(config), "--seed", str(seed), "--device", "cpu"]) == 0
    )
    return json.loads(next((place / "results").glob("*/test.json")).read_text())["scores"]
