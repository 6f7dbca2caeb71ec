"""Recordings laid out as IEMOCAP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from preprocess.IEMOCAP_preprocess import LABELS, main, write_folds

# EmoDB's letters of the four emotions; the letter is the sixth character of a name, the speaker the first two.
LETTERS = {"N": "neu", "F": "hap", "W": "ang", "T": "sad"}


def override(root: Path, **datarc: object) -> str:
    """The corpus with lists that lie in it, as an argument of ``-o``."""
    fields = {"root": root, "meta_data": root / "meta_data", **datarc}
    return ",,".join(f"config.downstream_expert.datarc.{name}={value}" for name, value in fields.items())


def with_lists(root: Path) -> Path:
    """A corpus after its preprocessing."""
    assert main([str(root)]) == 0
    return root


def lay_out_emodb(folder: Path, out: Path) -> Path:
    """Each of the five speakers of EmoDB is a session, at 22.05 kHz."""
    speakers = sorted({path.name[:2] for path in folder.glob("*.wav")})
    entries = {}
    for number, name in enumerate(speakers, 1):
        session, own = f"Session{number}", []
        for file in sorted(folder.glob(f"{name}*.wav")):
            if (label := LETTERS.get(file.stem[5])) is not None:
                path = f"{session}/sentences/wav/{name}/{file.name}"
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, out / path)
                own.append({"path": path, "label": label, "speaker": name})
        entries[session] = own
    write_folds(entries, out / "meta_data")
    return out


def write_corpus(root: Path, counts: Mapping[str, int], rate: int = 16000) -> Path:
    """Sessions with so many recordings of noise, whose emotions take turns, and their evaluations."""
    rng, emotions = np.random.default_rng(0), list(LABELS)
    for session, count in counts.items():
        dialog = f"Ses{int(session[7:]):02d}F_impro01"
        names = [f"{dialog}_F{number:03d}" for number in range(count)]
        for name in names:
            path = root / session / "sentences/wav" / dialog / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(rate // 4), rate)
        write_evaluation(root, session, dialog, [(name, emotions[number % 4]) for number, name in enumerate(names)])
    return root


def write_evaluation(root: Path, session: str, dialog: str, turns: Sequence[tuple[str, str]]) -> Path:
    """A file of evaluations in the form of the original."""
    path = root / session / "dialog/EmoEvaluation" / f"{dialog}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"[{n}.0000 - {n}.5000]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]\nC-E1:\tNeutral;\t()\n" for n, (name, emotion) in enumerate(turns)]
    path.write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(lines))
    return path


def rewrite(path: Path, **fields: object) -> None:
    """Replaces fields of a list."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
