"""Trains, evaluates and uses an experiment; knows no task and no upstream by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from downstream import snapshot
from downstream.evaluation import Evaluated, Evaluator
from downstream.inference import answer_all
from downstream.interfaces import Outcome, RunContext, Score
from downstream.pipeline import Pipeline
from downstream.reporting import result_name, summary, write_result
from downstream.training import Trainer
from utility.errors import UsageError
from utility.experiment.checkpoint import prune
from utility.experiment.experiment import Experiment
from utility.experiment.folder import time_tag
from utility.experiment.mlflow_run import MlflowRun, require_mlflow
from utility.experiment.trackers import Tracker
from utility.training.distributed import Team
from utility.training.seeding import Stream, seed_everything
from utility.training.signals import StopRequest
from utility.training.threads import default_threads, order_sums, set_threads

log = logging.getLogger(__name__)


class Runner:
    """One experiment on one process (or one of several).

    Args:
        experiment: settings, folder and loaded checkpoint.
        team: the processes of the run.
        device: ``cpu``, ``cuda:N`` or ``mps``.
    """

    def __init__(self, experiment: Experiment, team: Team, device: str):
        self.experiment, self.team, self.device = experiment, team, device
        stored = experiment.state.get("Threads") if experiment.resumes and experiment.mode == "train" else None
        set_threads(experiment.runner.threads or stored or default_threads(team.local_size))
        order_sums()

    def train(self) -> int:
        """Trains to the end; returns the exit status: 0 when training is complete, 128 + signal when it was asked to stop."""
        with StopRequest() as request:
            if not self.team.leads:
                return self._train(request)
            folder = self.experiment.folder
            with nullcontext() if folder.locked else folder.lock():
                return self._train(request)

    def _train(self, request: StopRequest) -> int:
        trainer = Trainer(self.experiment, self._build(training=True), self.team, request)
        if trainer.complete:
            if self.team.leads:  # the run may have been killed between its last checkpoint and this
                prune(self.experiment.folder.path, self.experiment.runner.max_keep)
            self._say(f"[Runner] - training is complete already, at step {trainer.progress.step} in {self.experiment.folder.path}")
            return 0
        if self.experiment.runner.mlflow:
            require_mlflow()  # before anything is changed
        with closing(self._prepare_folder()) as tracker:
            trainer.run(tracker)
        where = f"in {self.experiment.folder.path}"
        if not trainer.complete:
            log.warning("[Runner] - stopped and saved at step %d %s", trainer.progress.step, where)
            return request.exit_status if request else 1
        skipped = trainer.optimisation.skipped
        if skipped:
            log.warning("[Runner] - the last %d updates were skipped, because their gradients were not finite", skipped)
        results = "; ".join(summary(e) for e in trainer.last)
        self._say(f"[Runner] - training is complete at step {trainer.progress.step} {where}" + (f" | {results}" if results else ""))
        return 0

    def evaluate(self) -> int:
        """Evaluates one split, or runs the task's own work of that name; returns the exit status."""
        names = self.experiment.args["evaluate_split"]
        if len(names) != 1:
            raise UsageError(f"-m evaluate takes one split with -t, not {len(names)}: {' '.join(names)}")
        if not names[0] or Path(names[0]).name != names[0]:
            raise UsageError(f"-t {names[0]!r} is no name of a split")
        with results_folder(self.experiment.results_dir):
            return self._evaluate(names[0])

    def _evaluate(self, name: str) -> int:
        pipeline = self._build(training=False)
        if self.team.leads and not self.experiment.state and getattr(pipeline.downstream, "trains", True):
            log.warning("[Runner] - without a checkpoint (-e or -i) the weights of %s are untrained", self.experiment.args["downstream"])
        if name in getattr(pipeline.downstream, "runs", ()):
            evaluated = self._run_work(pipeline, name)
        else:
            evaluator = Evaluator(pipeline, self.team, self.experiment.args["seed"])  # the whole split, whatever evaluate_ratio says
            evaluated = evaluator(name, Tracker(), 0)
        if self.team.leads:
            evaluated.step = int(self.experiment.state.get("Step", 0))
            try:
                self._say(f"[Runner] - {summary(evaluated)} | {self.experiment.results_dir / result_name(evaluated)}")
            finally:  # printed where nothing can be written, and written where nobody reads
                write_result(evaluated, self.experiment, pipeline, self.experiment.checkpoint)
            self._track(evaluated)
        return 0

    def _track(self, evaluated: Evaluated) -> None:
        """MLflow gets the scores as well, under the names of the evaluation; where it is not installed it gets nothing."""
        store = self.experiment.runner.mlflow_store
        if store is None or find_spec("mlflow") is None:
            return
        with closing(MlflowRun(self.experiment.folder.path, store)) as run:
            for name, score in evaluated.outcome.scores.items():
                run.log(f"{evaluated.split}.{name}", score.value, evaluated.step)

    def inference(self) -> int:
        """Answers for the recordings of ``-t``; returns the exit status."""
        args = self.experiment.args
        if not self.team.leads:
            return 0
        pipeline = Pipeline(self.experiment, self.device, training=False)
        failed = answer_all(pipeline, args["downstream"], args["evaluate_split"], args["output"], args["seed"])
        return 2 if failed else 0

    def _build(self, training: bool) -> Pipeline:
        """The models; with several processes the leader builds first, so that it alone downloads."""
        seed_everything(self.experiment.args["seed"], Stream.BUILD)
        if self.team.leads:
            pipeline = Pipeline(self.experiment, self.device, training)
            self.team.share(True)
            self._describe(pipeline)
            return pipeline
        self.team.share(None)
        self.experiment.args["upstream_refresh"] = False
        return Pipeline(self.experiment, self.device, training)

    def _prepare_folder(self) -> Tracker:
        """The folder is changed only after everything that a user can have got wrong has been built."""
        if not self.team.leads:
            return Tracker()
        experiment, step, tag = self.experiment, int(self.experiment.state.get("Step", 0)), time_tag()
        snapshot.prepare_folder(experiment, step, tag)
        experiment.folder.dump_settings(experiment.args, experiment.config, tag)
        model_config = experiment.args["upstream_model_config"]
        if model_config and not experiment.resumes and Path(model_config).is_file():
            experiment.folder.backup(Path(model_config), tag)
        store = experiment.runner.mlflow_store
        return Tracker(experiment.folder.path, experiment.runner.tensorboard, store, step if experiment.resumes else 0)

    def _run_work(self, pipeline: Pipeline, name: str) -> Evaluated:
        """The task's own work, by the leader alone: two processes would write the same files."""

        def extract(wavs: list[Tensor]) -> list[Tensor]:
            with pipeline.autocast():
                return pipeline.extract(wavs)

        def take(state: Mapping[str, Any]) -> None:
            pipeline.load(state, self.experiment.folder.path)

        context = RunContext(extract, self.experiment.results_dir, self.device, self.experiment.args["seed"], take)
        answer: Outcome | Mapping[str, Score] | None = None
        with pipeline.evaluating():
            if self.team.leads:
                answer = pipeline.downstream.run(name, context)
        self.team.share(None)  # the others wait
        return Evaluated(name, 0, answer if isinstance(answer, Outcome) else Outcome(scores=answer or {}))

    def _describe(self, pipeline: Pipeline) -> None:
        if self.experiment.args["verbose"]:
            for name, module in pipeline.trainable.items():
                log.warning("%s\n%s: %d parameters", module, name, sum(p.numel() for p in module.parameters() if p.requires_grad))

    def _say(self, line: str) -> None:
        if self.team.leads:
            print(line, flush=True)


@contextmanager
def results_folder(folder: Path) -> Iterator[None]:
    """Makes a folder for the block; if that fails, what was made and is still empty goes again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first that holds something, and all above it, stay
            for path in made:
                path.rmdir()
        raise


def resolve_device(wanted: str, local_rank: int = 0) -> str:
    """``auto`` -> the accelerator of this machine, or ``cpu``; ``cuda`` -> this process's GPU.

    Raises:
        UsageError: the device is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda"):
        count = torch.cuda.device_count()
        number = int(wanted.partition(":")[2] or local_rank)
        if not torch.cuda.is_available() or number >= count:
            raise UsageError(f"--device {wanted}: this machine has {count} CUDA device(s); --device cpu or auto works")
        torch.cuda.set_device(number)
        return f"cuda:{number}"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has none; --device cpu or auto works")
    return wanted
