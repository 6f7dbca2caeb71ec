"""Who has rated what: the answers of a local listening test, kept such that none is lost.

Each answer is appended to ``<results>.jsonl`` and forced to the disk before the rater is told; the csv file, which has the columns of
MTurk's result files, is written anew from it each time.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from utility.errors import DataError
from utility.experiment.texts import write_text

from .hits import Hit
from .pages import Page

LONGEST_NAME = 64
ALLOTTED = 1800.0
"""Seconds that a batch waits for the rater to whom it was handed before others may have it: many times what one takes."""

log = logging.getLogger(__name__)


class AnswerError(Exception):
    """What a rater sent is incomplete or impossible; the message is for the rater."""


_KEPT = itemgetter("test", "hit", "answers", "worker", "time", "seconds")  # of each line of a journal


class Ratings:
    """The answers to the batches of a condition; may be used by several threads.

    Args:
        hits: the batches.
        page: the questions.
        results: the csv file; the journal lies beside it.
        raters: how many answers a batch needs; None: all raters may answer all of them.
        test: what :func:`downstream.audio_generation.mturk.hits.identity_of` says of the recordings.
        clock: seconds.

    Raises:
        DataError: the journal is damaged, of another test, or in use by another server.
    """

    def __init__(
        self,
        hits: Sequence[Hit],
        page: Page,
        results: Path,
        raters: int | None = None,
        test: str = "",
        clock: Callable[[], float] = time.monotonic,
    ):
        self.hits, self.page, self.results, self.raters, self.test = hits, page, results, raters, test
        self.journal = results.with_name(f"{results.name}.jsonl")
        self._lock, self._clock = threading.Lock(), clock
        self._out: dict[str, tuple[int, float]] = {}  # which batch a rater was handed last, and when; not kept over a restart
        results.parent.mkdir(parents=True, exist_ok=True)
        self._alone = FileLock(results.with_name(f".{results.name}.lock"))
        try:
            self._alone.acquire(timeout=0)
        except Timeout as error:
            raise DataError(f"another server writes to {results}; choose another --results") from error
        self.entries = self._read()
        if self.entries:
            self._write_csv()

    def close(self) -> None:
        """Lets another server write to the results."""
        self._alone.release()

    def next_for(self, worker: str) -> Hit | None:
        """Hands out the batch that a rater should hear next.

        It is the one that he was handed and has not answered, or else, of those that are left for him, the one with the fewest answers. One
        that another rater was handed within :data:`ALLOTTED` counts as answered.

        Returns:
            None if there is none; :meth:`may_return` says whether that may change.
        """
        with self._lock:
            now = self._clock()
            self._out = {rater: (hit, since) for rater, (hit, since) in self._out.items() if now - since < ALLOTTED}
            mine, _ = self._out.pop(worker, (None, now))
            taken = self._counts() + Counter(hit for hit, _ in self._out.values())
            left = self._left(worker, taken)
            hit = min(left, key=lambda hit: (hit.number != mine, taken[hit.number], hit.number), default=None)
            if hit is not None:
                self._out[worker] = (hit.number, now)
        return hit

    def may_return(self, worker: str) -> bool:
        """Whether batches that are with other raters may be left over for this one."""
        with self._lock:
            return bool(self._left(worker, self._counts()))

    def _counts(self) -> Counter[int]:
        return Counter(entry["hit"] for entry in self.entries)

    def _left(self, worker: str, taken: Mapping[int, int]) -> list[Hit]:
        done = {entry["hit"] for entry in self.entries if entry["worker"] == worker}
        return [hit for hit in self.hits if hit.number not in done and (self.raters is None or taken[hit.number] < self.raters)]

    def done_by(self, worker: str) -> int:
        """How many batches a rater has answered."""
        with self._lock:
            return sum(entry["worker"] == worker for entry in self.entries)

    def submit(self, worker: str, number: int, given: Mapping[str, str], seconds: float = 0.0) -> bool:
        """Keeps an answer, be it late or one more than was wanted; of the same rater and batch only the first counts.

        Args:
            worker: the rater.
            number: of the batch.
            given: the value of each question.
            seconds: that the rater took.

        Returns:
            False if it was there already.

        Raises:
            AnswerError: no such rater, batch, question or value, a question without an answer, or a disk that keeps nothing.
        """
        worker = check_worker(worker)
        if not 0 <= number < len(self.hits):
            raise AnswerError(f"There is no batch {number}.")
        answers = {}
        for question in self.page.questions:
            if given.get(question.name) not in question.answers:
                raise AnswerError(f"The question {question.name} has no answer.")
            answers[question.name] = given[question.name]
        entry = {"worker": worker, "hit": number, "time": time.time(), "seconds": round(seconds, 1), "answers": answers, "test": self.test}
        with self._lock:
            if any(other["worker"] == worker and other["hit"] == number for other in self.entries):
                return False
            try:
                self._append(entry)
            except OSError as error:
                log.warning("an answer of %s cannot be kept in %s: %s", worker, self.journal, error.strerror)
                raise AnswerError("Your answers cannot be kept just now.") from error
            self.entries.append(entry)
            if self._out.get(worker, (None,))[0] == number:
                del self._out[worker]
            try:
                self._write_csv()
            except OSError as error:  # the journal has the answer, and the next one writes the whole file
                log.warning("%s cannot be written: %s; the answers are in %s", self.results, error.strerror, self.journal)
        return True

    # ---- files

    def _read(self) -> list[dict[str, Any]]:
        """The journal; a last line that a crash cut short was never confirmed to anyone and is dropped."""
        if not self.journal.is_file():
            if self.results.exists():
                raise DataError(f"{self.results} exists, but not its journal {self.journal.name}; choose another --results")
            return []
        data = self.journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            with self.journal.open("rb+") as file:
                file.truncate(len(whole))
        try:
            entries = [json.loads(line) for line in whole.decode().splitlines()]
            kept = [_KEPT(entry) for entry in entries]
            known = all(test == self.test and self._asked(hit, answers) for test, hit, answers, *_ in kept)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.journal} is damaged: {error}") from error
        if not known:
            raise DataError(f"{self.journal} holds the answers of another listening test; choose another --results")
        return entries

    def _asked(self, hit: int, answers: Mapping[str, str]) -> bool:
        return 0 <= hit < len(self.hits) and {question.name for question in self.page.questions} == set(answers)

    def _append(self, entry: Mapping[str, Any]) -> None:
        """One line more; what a full disk takes of it only in part goes again, so that the next one begins a line."""
        with self.journal.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                line = json.dumps(entry).encode() + b"\n"
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.journal))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def _write_csv(self) -> None:
        names = sorted(question.name for question in self.page.questions)
        count = len(self.hits[0].urls)
        head = ["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "SubmitTime", "WorkTimeInSeconds"]
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([*head, *(f"Input.recording_{number}_url" for number in range(count)), *(f"Answer.{name}" for name in names)])
        for number, entry in enumerate(self.entries):
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry["time"]))
            about = [f"HIT{entry['hit']}", f"A{number}", entry["worker"], "Submitted", when, round(entry["seconds"])]
            rows.writerow([*about, *self.hits[entry["hit"]].urls, *(entry["answers"][name] for name in names)])
        write_text(self.results, text.getvalue())


def check_worker(name: str) -> str:
    """A rater's name without spaces around it.

    Raises:
        AnswerError: empty, too long, or with characters that cannot be printed; one that a spreadsheet would take for a formula.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name[0] in "=+-@":
        raise AnswerError(f"A name has 1 to {LONGEST_NAME} letters or digits.")
    return name
