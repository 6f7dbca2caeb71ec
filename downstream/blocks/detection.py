"""What a search for spoken queries leaves behind: the answers, as MediaEval's scorer reads them, and their scores."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from downstream.interfaces import Score
from utility.errors import DataError
from utility.metrics.detection import Detection, DetectionScores, collect, score_trials
from utility.metrics.detection_files import STDLIST, GroundTruth, read_ground_truth, write_stdlist

log = logging.getLogger(__name__)

Answers = dict[str, list[tuple[str, float, bool]]]
Found = Mapping[tuple[str, str], Detection]


def publish(answers: Answers, folder: Path, expdir: Path) -> Path:
    """Writes ``folder/benchmark.stdlist.xml``, and a copy into the experiment's folder, where the printed commands look for it.

    Args:
        answers: by query: (document, score, decision) of each trial.
        folder: that of this evaluation.
        expdir: the experiment folder.

    Returns:
        the file.
    """
    path = folder / STDLIST
    write_stdlist(path, answers)
    if expdir.resolve() != folder.resolve():
        shutil.copyfile(path, expdir / STDLIST)
    return path


def score_answers(
    answers: Answers, truth_folder: Path, parts: Mapping[str, Collection[str] | None] | None = None, official: bool = True
) -> dict[str, Score]:
    """Scores of all queries of the ground truth, as the official scorer counts them, and of those that were searched alone.

    Args:
        answers: as in :func:`publish`; scores count with the four decimals that the file has.
        truth_folder: a folder such as ``groundtruth_quesst14_eval``.
        parts: by suffix of the scores' names, the documents to count (None: those that were searched), for the queries that were searched;
            ``{"searched": None}`` by default. One that holds as much as the official scores is left out.
        official: whether the former are wanted.

    Returns:
        ``maxTWV``, ``actTWV``, ``minCnxe``, ``actCnxe``, and the same with each suffix; nothing without a ground truth. The lines of
        the first of them are printed as the official scorer prints its own.
    """
    if not truth_folder.is_dir():
        log.warning("there is no ground truth in %s, so that the answers are not scored", truth_folder)
        return {}
    truth = read_ground_truth(truth_folder)
    found = {(q, name): Detection(float(f"{score:.4f}"), said) for q, trials in answers.items() for name, score, said in trials}
    scored = {"": score_trials(collect(found, truth.targets, truth.queries, truth.documents))} if official else {}
    for suffix, documents in ({"searched": None} if parts is None else parts).items():
        alone = score_part(found, truth, set(answers), documents)
        scored |= {f"_{suffix}": alone} if alone else {}
    for scores in list(scored.values())[:1]:
        print("\n".join(scores.lines()))
    return {name: score for suffix, scores in scored.items() for name, score in declared(scores, suffix).items()}


def score_part(found: Found, truth: GroundTruth, queries: Collection[str], documents: Collection[str] | None) -> DetectionScores | None:
    """Scores of some queries in some documents.

    Args:
        found: all answers.
        truth: of all.
        queries: those to count.
        documents: those to count; None for those that were searched.

    Returns:
        None if these are all of the truth, or (with a warning) if none of the queries occurs in one of the documents.
    """
    documents = {name for _, name in found} if documents is None else documents
    if set(truth.queries) <= set(queries) and set(truth.documents) <= set(documents):
        return None
    try:
        asked = set(truth.queries) & set(queries)
        return score_trials(collect(found, truth.targets, asked, [name for name in truth.documents if name in documents]))
    except DataError as error:
        log.warning("a part of the answers is not scored: %s", error)
        return None


def declared(scores: DetectionScores, suffix: str = "") -> dict[str, Score]:
    """The scores of a result file."""
    return {
        f"maxTWV{suffix}": Score(scores.max_twv, True, "TWV"),
        f"actTWV{suffix}": Score(scores.act_twv, True, "TWV"),
        f"minCnxe{suffix}": Score(scores.min_cnxe, False, "Cnxe"),
        f"actCnxe{suffix}": Score(scores.act_cnxe, False, "Cnxe"),
    }
