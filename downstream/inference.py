"""Answers for a user's own recordings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from downstream.answers import writer
from downstream.interfaces import DownstreamBase
from downstream.pipeline import Pipeline
from utility.audio.io import find_audio, load_audio
from utility.errors import DataError, UsageError, of_files
from utility.training.packing import as_waveform
from utility.training.seeding import Stream, number_of, seed_everything

log = logging.getLogger(__name__)


def answer_all(pipeline: Pipeline, task: str, paths: list[str], output: str | None, seed: int) -> int:
    """Runs the task's ``inference`` over files or pairs of files and writes what it answers.

    Args:
        pipeline: the models.
        task: name of the task, for messages.
        paths: what ``-t`` was given: files and folders, or a pair.
        output: the file to write, see :func:`downstream.answers.writer`; None for stdout.
        seed: of the experiment.

    Returns:
        the number of recordings without an answer; what is wrong with each is said on stderr, and the others are answered.

    Raises:
        UsageError: the task has no inference, or takes other inputs.
        DataError: there is nothing to read.
    """
    items = _items(pipeline.downstream, task, paths)
    failed = unread = 0
    with pipeline.evaluating(), writer(output) as write:
        for files in tqdm(items, desc="inference", unit="file", dynamic_ncols=True, disable=len(items) < 2):
            wavs = None
            try:
                wavs = [load(pipeline.downstream, path) for path in files]
                answers = answer(pipeline, files, wavs, seed)
            except DataError as error:
                log.error("%s", of_files(error, *files))
                failed, unread = failed + 1, unread + (wavs is None)
                continue
            for given in answers:
                write(given)
    if failed:
        unused = "could be read but not used (too short for the upstream, or as said above)"
        reasons = ((unread, "could not be read"), (failed - unread, unused))
        what = ", ".join(f"{count} {reason}" for count, reason in reasons if count)
        log.error("%d of %d recordings have no answer: %s", failed, len(items), what)
    return failed


def _items(task: Any, name: str, paths: list[str]) -> list[tuple[Path, ...]]:
    """The files of each answer: one, or two for tasks on pairs."""
    kind = getattr(task, "inference_inputs", "files")
    method = getattr(task, "inference", None)
    if kind == "none" or method is None or getattr(method, "__func__", None) is DownstreamBase.inference:
        raise UsageError(f"the task {name!r} has no inference on recordings")
    groups = [_files(Path(path)) for path in paths]
    if kind == "pairs":
        if len(groups) != 2 or len(groups[0]) != 1:
            raise UsageError(f"the task {name!r} compares recordings: -t FILE FILE, or -t FILE FOLDER")
        return [(groups[0][0], other) for other in groups[1]]
    return [(file,) for group in groups for file in group]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = find_audio(path)
        if not found:
            raise DataError(f"{path} holds no audio file")
        return found
    if not path.exists():
        raise DataError(f"there is no file or folder {path}; -t of -m inference takes recordings")
    return [path]


def load(task: Any, path: Path) -> Tensor:
    """A recording as a task hears it. Any rate, any channels -> 1-D at the task's rate; a task's own ``load_audio`` comes first."""
    if hasattr(task, "load_audio"):
        return as_waveform(task.load_audio(str(path))).view(-1)
    return torch.from_numpy(load_audio(path, getattr(task, "sample_rate", DownstreamBase.sample_rate)))


def answer(pipeline: Pipeline, files: tuple[Path, ...], wavs: list[Tensor], seed: int) -> list[dict[str, Any]]:
    """The answers to one recording or pair, with the names of the files.

    Args:
        pipeline: the models, evaluating.
        files: names of the waveforms.
        wavs: 1-D, at the task's rate.
        seed: of the experiment.

    Raises:
        DataError: the recording cannot be used.
    """
    seed_everything(seed, Stream.EVALUATION, number_of("inference"), 0)
    with pipeline.autocast():
        features = [feature for batch in _batches(pipeline.downstream, wavs) for feature in pipeline.extract(batch)]
        if not all(torch.isfinite(feature).all() for feature in features):
            raise DataError("its features are not finite; is the recording far too loud?")
        answers = pipeline.downstream.inference(features, [file.stem for file in files])
    who = {"file": str(files[0])} if len(files) == 1 else {"files": [str(f) for f in files]}
    listed = answers if isinstance(answers, (list, tuple)) else [answers]
    return [{**answer, **who} if isinstance(answer, dict) else {**who, "answer": answer} for answer in listed]


def _batches(task: Any, wavs: list[Tensor]) -> list[list[Tensor]]:
    """What is extracted at once: everything, or one by one the pieces into which a task cuts long recordings."""
    return [[piece] for wav in wavs for piece in task.pieces(wav)] if hasattr(task, "pieces") else [wavs]
