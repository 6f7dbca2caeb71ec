"""The training loop: updates, logs, evaluations and checkpoints, each a function of the step alone.

The order within a step is S3PRL's (specs/s3prl-core.md, 7.3): optimizer, scheduler, log, evaluation, save.
"""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from downstream import snapshot
from downstream.evaluation import Evaluated, Evaluator, InterruptedPassError
from downstream.optimisation import Optimisation
from downstream.periods import Periods
from downstream.pipeline import Pipeline
from downstream.reporting import write_result
from downstream.resumption import settings_changed
from downstream.snapshot import LOGS, Progress
from utility.errors import DataError, ToolkitError
from utility.experiment import checkpoint as checkpoints
from utility.experiment.experiment import Experiment
from utility.experiment.states import SUFFIXES
from utility.experiment.trackers import Tracker
from utility.training.distributed import Team
from utility.training.loading import Place
from utility.training.seeding import Stream, seed_everything
from utility.training.signals import StopRequest

log = logging.getLogger(__name__)

MOST_OUT_OF_MEMORY = 10


class Trainer:
    """Trains an experiment from its checkpoint, or from the first step, to its end.

    Args:
        experiment: settings and the loaded checkpoint.
        pipeline: the models, their weights loaded.
        team: the processes.
        request: set when the run is asked to stop.

    Attributes:
        progress: where the run stands.
        last: the evaluations of the last step that was evaluated.
    """

    def __init__(self, experiment: Experiment, pipeline: Pipeline, team: Team, request: StopRequest):
        self.experiment, self.pipeline, self.team, self.request = experiment, pipeline, team, request
        self.tracker = Tracker()
        self.runner, self.seed = experiment.runner, experiment.args["seed"]
        self.split = self.runner.train_dataloader
        for split in (self.split, *self.runner.eval_dataloaders):
            pipeline.check_split(split)
        state = experiment.state if experiment.resumes else {}
        if state:
            snapshot.check_team(state, team)
        self.progress = Progress.of(state)
        for split in self.runner.eval_dataloaders:
            pipeline.check_filled(split, self._place(0))
        self.periods = Periods(self.runner, self._epoch_length() if Periods.need_epochs(self.runner) else None)
        self.optimisation = self._build_optimisation()
        if state:
            changed = settings_changed(state["Config"], experiment.config, self.optimisation.own_groups)
            self.optimisation.load(state, anew=changed)
        self.evaluator = Evaluator(pipeline, team, self.seed, self.runner.evaluate_ratio, lambda: bool(request))
        self.last: list[Evaluated] = []
        self.loss: torch.Tensor | None = None
        self._out_of_memory = 0

    @property
    def complete(self) -> bool:
        """Nothing is left to do."""
        return not self.progress.pending and self._trained

    @property
    def _trained(self) -> bool:
        return self.progress.finished or self.progress.step >= self.periods.total_steps

    def run(self, tracker: Tracker) -> None:
        """Trains until the last step, an early stop or a request to stop; the last state is saved in each case.

        Args:
            tracker: the logger; on ranks other than the leader it writes nothing.
        """
        self.tracker = tracker
        self.team.broadcast(self.pipeline.parts)
        self.pipeline.train()
        stopped = self.progress.pending and not self._evaluate_pending()
        with self._bar() as bar, closing(self._batches()) as batches:
            while not self._trained and not stopped:
                before = self.progress.epochs_done
                updated, stopping = self._update(batches)
                if updated:
                    stopped = self._after_update(before, stopping)
                    self._show(bar)
                elif stopping:
                    self._save([self._regular_name])
                    stopped = True

    # ---- updates

    def _build_optimisation(self) -> Optimisation:
        groups = getattr(self.pipeline.downstream, "param_groups", lambda modules: None)(self.pipeline.trainable)
        return Optimisation(
            self.experiment.config,
            self.pipeline.trainable,
            groups,
            self.team,
            self.periods.total_steps,
            self.periods.total_epochs,
            self.runner.gradient_accumulate_steps,
            self.runner.gradient_clipping,
            scale_loss=self.pipeline.amp is torch.float16,
            before=getattr(self.pipeline.downstream, "before_update", lambda: None),
        )

    def _place(self, epoch: int, skip: int = 0) -> Place:
        return Place(self.seed, Stream.FORWARD, self.split, epoch, skip, self.team.rank, self.team.size)

    def _epoch_length(self) -> int:
        opened = self.pipeline.open_pass(self.split, self._place(0))
        if not opened.expected:
            raise DataError(f"the split {self.split!r} has no known length, so nothing can be counted in epochs")
        return opened.expected

    def _batches(self) -> Iterator[tuple[int, Any]]:
        """Micro-batches with their index in the epoch, from the position on, epoch after epoch."""
        progress = self.progress
        while True:
            epoch, skip = progress.epoch, progress.consumed
            opened = self.pipeline.open_pass(self.split, self._place(epoch, skip))
            progress.epoch_length = None if opened.expected is None else opened.expected + skip
            for batch in opened.batches:
                progress.consumed += 1
                yield progress.consumed - 1, batch
            if progress.consumed == 0:
                raise DataError(f"the split {self.split!r} has no batch to train on")
            progress.epoch, progress.consumed = progress.epoch + 1, 0

    def _update(self, batches: Iterator[tuple[int, Any]]) -> tuple[bool, bool]:
        """One optimizer update from ``gradient_accumulate_steps`` micro-batches.

        Returns:
            whether the weights moved on (not if a rank ran out of memory), and whether any rank was asked to stop.
        """
        records: dict[str, list] = defaultdict(list)
        before, ids, enough_memory = self.progress.epochs_done, [], True
        for micro in range(self.runner.gradient_accumulate_steps):
            batch_id, batch = next(batches)
            seed_everything(self.seed, Stream.FORWARD, self.progress.step + 1, micro, self.team.rank)
            enough_memory = enough_memory and self._micro_batch(batch, records)
            ids.append(batch_id)
        out_of_memory, stopping = self.team.any(not enough_memory, bool(self.request))
        if out_of_memory:
            self._drop_update()
            self.optimisation.epochs_ended(self.progress.epochs_done - before)
            return False, stopping
        self._out_of_memory = 0
        self.progress.batch_ids += ids
        for key, values in records.items():
            self.progress.records[key] += values
        self.progress.step += 1
        self.optimisation.update(self.progress.step)
        getattr(self.pipeline.downstream, "after_update", lambda: None)()
        self.team.share_buffers(self.pipeline.trainable.values())
        self.optimisation.epochs_ended(self.progress.epochs_done - before)
        return True, stopping

    def _micro_batch(self, batch: Any, records: dict[str, list]) -> bool:
        """Forward and backward; False if the device has no memory left."""
        try:
            loss = self.pipeline.loss(self.split, batch, records)
            self.optimisation.backward(loss)
        except torch.OutOfMemoryError:
            return False
        self.loss = loss.detach()
        return True

    def _drop_update(self) -> None:
        self.optimisation.forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._out_of_memory += 1
        log.warning("out of memory at step %d: its batches are skipped", self.progress.step + 1)
        if self._out_of_memory >= MOST_OUT_OF_MEMORY:
            raise ToolkitError(
                f"out of memory {MOST_OUT_OF_MEMORY} times in a row at step {self.progress.step + 1}: lower the training batch size"
            )

    # ---- log, evaluation, checkpoints

    def _after_update(self, epochs_before: int, stopping: bool) -> bool:
        """Logs, evaluates and saves what is due; True if training ends here because it was asked to."""
        step, after = self.progress.step, self.progress.epochs_done
        if self._trained or self.periods.due("log", step, epochs_before, after):
            self._log()
        names: list[str] = []
        if self._trained or self.periods.due("eval", step, epochs_before, after):
            evaluated = None if stopping else self._evaluate()
            if evaluated is None:
                self.progress.pending = True
                self._save([self._regular_name])
                return True
            names = evaluated
        if self._trained or stopping or self.periods.due("save", step, epochs_before, after):
            names = [*names, self._regular_name]
        self._save(names)
        return stopping

    @property
    def _regular_name(self) -> str:
        return f"states-{self.progress.step}.ckpt"

    def _log(self) -> None:
        """Hands the records since the last log to the task (on the leader) and writes a line of metrics."""
        progress = self.progress
        if self.team.leads and progress.batch_ids:
            self.tracker.take()
            self.pipeline.downstream.log_records(
                self.split,
                records=progress.records,
                logger=self.tracker,
                global_step=progress.step,
                batch_ids=progress.batch_ids,
                total_batch_num=progress.epoch_length or len(progress.batch_ids),
            )
            self._line(self.split, {"lr": self.optimisation.lr, "grad_norm": self.optimisation.grad_norm, **self.tracker.take()})
        self.team.share_memory_of([self.pipeline.downstream])
        progress.records, progress.batch_ids = defaultdict(list), []

    def _line(self, split: str, numbers: dict[str, Any]) -> None:
        self.tracker.write_line(numbers, step=self.progress.step, epoch=self.progress.epoch, split=split)

    def _evaluate_pending(self) -> bool:
        """Makes up for the evaluation that the run was stopped in; False if it is stopped again."""
        names = self._evaluate()
        if names is None:
            return False
        self.progress.pending = False
        self._save([*names, self._regular_name])
        return True

    def _evaluate(self) -> list[str] | None:
        """Evaluates the splits of the config.

        Returns:
            the checkpoints that the task wants written; None if a request to stop came in between, with everything as it was before.
        """
        memory, sizes = copy.deepcopy(self.pipeline.downstream.state_dict()), self.experiment.folder.sizes(LOGS)
        try:
            self.last = [self._evaluate_split(split) for split in self.runner.eval_dataloaders]
        except InterruptedPassError:
            self.pipeline.downstream.load_state_dict(memory)
            self.experiment.folder.truncate(sizes)
            return None
        for evaluated in self.last:
            scores = {name: (score.value, score.higher_is_better) for name, score in evaluated.outcome.scores.items()}
            self.optimisation.evaluated(evaluated.split, scores)
        self.progress.finished = self.progress.finished or any(e.outcome.stop for e in self.last)
        return list(dict.fromkeys(name for e in self.last for name in e.outcome.save_names))

    def _evaluate_split(self, split: str) -> Evaluated:
        evaluated = self.evaluator(split, self.tracker, self.progress.step)
        if self.team.leads:
            self._line(split, {**{k: score.value for k, score in evaluated.outcome.scores.items()}, **evaluated.scalars})
        return evaluated

    def _save(self, names: list[str]) -> None:
        """Writes one state under each of the names, and the results of this step's evaluation beside them.

        The numbered checkpoint comes last: a run that is killed before it is there does all of this again.
        """
        if not self.team.leads or not names:
            return
        folder = self.experiment.folder.path
        paths = [folder / _plain_name(name) for name in names]
        self.tracker.sync()
        state = snapshot.take(self.experiment, self.pipeline, self.optimisation, self.progress, self.team)
        self._write_results([p for p in paths if p.name != self._regular_name or self._trained])
        checkpoints.save(state, paths, self._after_save)
        checkpoints.prune(folder, self.runner.max_keep)

    def _after_save(self, path: Path) -> None:
        after_save = getattr(self.pipeline.downstream, "after_save", None)
        if after_save is not None:
            after_save(path, self.progress.step)

    def _write_results(self, paths: list[Path]) -> None:
        """Results of this step's evaluation, for each checkpoint that stays."""
        for path in paths:
            for evaluated in self.last:
                if evaluated.step == self.progress.step:
                    write_result(evaluated, self.experiment, self.pipeline, path)

    # ---- progress

    def _bar(self) -> tqdm:
        hidden = not self.team.leads
        steps = {"total": self.periods.total_steps, "initial": self.progress.step}
        return tqdm(desc="train", unit="step", dynamic_ncols=True, disable=hidden, mininterval=0.5, **steps)

    def _show(self, bar: tqdm) -> None:
        """Moves the bar; the loss is read from the device only when the bar is drawn anew."""
        if bar.update() and self.loss is not None:
            shown = {"loss": f"{self.loss.item():.3f}", "epoch": self.progress.epoch}
            for evaluated in self.last:
                for name, score in list(evaluated.outcome.scores.items())[:1]:
                    shown[f"{evaluated.split} {name}"] = f"{score.value:.4g}"
            bar.set_postfix(shown, refresh=False)


def _plain_name(name: str) -> str:
    if Path(name).name != name or not name.endswith(SUFFIXES):
        raise ToolkitError(
            f"the task asks for a checkpoint called {name!r}; a plain file name that ends in {' or '.join(SUFFIXES)} is needed"
        )
    return name
