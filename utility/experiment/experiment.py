"""From a command line to an experiment: which settings hold, which checkpoint they come from, where the files go.

Precedence, lowest first: defaults, command line, the settings stored in the checkpoint of ``-e`` or ``-a``, ``-o``.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utility.errors import CheckpointError, UnknownNameError, UsageError
from utility.experiment import checkpoint as checkpoints
from utility.experiment.command_line import Arguments, check_values
from utility.experiment.config import RunnerConfig, check_runner, check_sections, load_config
from utility.experiment.folder import ExperimentFolder
from utility.experiment.override import apply_override, parse_override
from utility.experiment.plugins import find_plugins, find_task, load_plugin
from utility.training.distributed import Team

log = logging.getLogger(__name__)

# These belong to the call, not to the experiment: a resumed run takes them from its new command line.
OF_THE_CALL = frozenset(
    {
        *("mode", "evaluate_split", "output", "override", "past_exp", "init_ckpt", "auto_resume"),
        *("backend", "local_rank", "verbose", "allow_pipes", "upstream_refresh", "model_file"),
    }
)
PLUGINS = ("upstream", "downstream")
_FILES = ("upstream_ckpt", "upstream_model_config")
_NO_CHECKPOINT = "inference needs a trained checkpoint: -e CHECKPOINT_OR_FOLDER, or the weights of one with -i, -u and -d"


@dataclass
class Experiment:
    """Everything that the Runner needs to know.

    Args:
        args: the command line's values after resume and override; plain data.
        config: the config after resume and override.
        runner: the checked ``runner`` section.
        folder: where the run's files lie.
        task: the folder of the downstream task.
        state: the loaded checkpoint, {} without one.
        checkpoint: its path.
        resumes: True if optimizer, position and the like are restored as well (``-e``, ``-a``); False for ``-i`` and fresh runs.
    """

    args: dict[str, Any]
    config: dict[str, Any]
    runner: RunnerConfig
    folder: ExperimentFolder
    task: Path
    state: dict[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None
    resumes: bool = False

    @property
    def mode(self) -> str:
        return self.args["mode"]

    @property
    def results_dir(self) -> Path:
        """Where an evaluation's files go."""
        return self.folder.results(self.checkpoint.name if self.checkpoint else None)


def open_experiment(
    namespace: Arguments, team: Team, tasks: Path, upstreams: Collection[str], translated: Mapping[str, Any] | None = None
) -> Experiment:
    """Applies ``-a``, ``-e``, ``-i``, ``-c`` and ``-o`` in their order.

    Args:
        namespace: the parsed command line.
        team: the processes of the run; the leader alone decides which checkpoint is used.
        tasks: the folder of the tasks, where a name and its default config are looked for.
        upstreams: the registered upstreams; any other name is a folder.
        translated: what the config of ``-c`` means, where it is another system's.

    Raises:
        ToolkitError: whatever a user can have got wrong.
    """
    args, given = _placed(vars(namespace), upstreams), set(namespace.given)
    known = {"upstream": upstreams, "downstream": find_plugins(tasks)}
    if {"past_exp", "init_ckpt"} <= given:
        raise UsageError("-e and -i exclude each other: -e takes up a past experiment whole, -i only the weights of one")
    options = parse_override(args["override"])
    past = _past_experiment(args)
    if past is not None:
        state, path = _read(past, team)
        args, config = _stored_settings(args, given, known, state, path)
        args["expdir"] = str(_place(namespace, past, path))
    else:
        _require(args, given)
        args["expdir"] = str(_fresh_place(args))
        state, path = _read(Path(args["init_ckpt"]), team) if args["init_ckpt"] else ({}, None)
        own = args["config"] or find_task(args["downstream"], tasks) / "config.yaml"
        config = load_config(own) if translated is None else copy.deepcopy(dict(translated))
    apply_override(options, args, config, _note if team.leads else _quiet)
    check_values(args)
    args |= _placed({name: args[name] for name in {option.fields[0] for option in options if option.root == "args"}}, upstreams)
    for name in PLUGINS:
        if args[name] not in known[name] and Path(args[name]).expanduser().is_dir():
            args[name] = str(Path(args[name]).expanduser().resolve())
    task = find_task(args["downstream"], tasks)
    _check_use(args, task, learnt=bool(state))
    check_sections(config, training=args["mode"] == "train")
    runner = check_runner(config, training=args["mode"] == "train")
    return Experiment(args, config, runner, ExperimentFolder(args["expdir"]), task, state, path, resumes=past is not None)


def _placed(args: Mapping[str, Any], upstreams: Collection[str]) -> dict[str, Any]:
    """The arguments with whole paths of the upstream's files, so that the run goes on from another working directory as well."""
    placed = {name: _whole(value) if name in _FILES else value for name, value in args.items()}
    name, colon, ckpt = str(args.get("upstream")).partition(":")
    if colon and args["upstream"] in upstreams:
        placed["upstream"] = f"{name}:{_whole(ckpt)}"
    return placed


def _whole(path: Any) -> Any:
    """The absolute path of a file or folder that is there; anything else, such as a URL or the name of a model, as it is."""
    place = Path(path).expanduser() if isinstance(path, str) and path else None
    return str(place.absolute()) if place is not None and place.exists() else path


@contextmanager
def lock_for_training(namespace: Arguments, team: Team) -> Iterator[None]:
    """Locks the folder that a command line trains in, so that the checkpoint to go on from is still the newest when it does.

    A folder without a run is left alone until everything else is in order; :meth:`Runner.train` locks it then.

    Raises:
        FolderInUseError: another process trains there.
    """
    folder = _training_folder(namespace)
    with folder.lock() if folder and team.leads else nullcontext():
        team.share(None)  # nobody reads before the leader has the lock
        yield


def _training_folder(namespace: Arguments) -> ExperimentFolder | None:
    args = dict(vars(namespace))
    args |= {option.fields[0]: option.value for option in parse_override(args["override"]) if option.root == "args"}
    if args["mode"] != "train":
        return None
    with suppress(UsageError):  # it has no name: to be said when it is opened
        past = _past_experiment(vars(namespace))
        placed = _fresh_place(vars(namespace)) if past is None else _place(namespace, past, past)
        folder = ExperimentFolder(str(args["expdir"] or placed))
        return folder if folder.holds_run() else None
    return None


def _note(message: str) -> None:
    log.warning("%s", message)


def _quiet(message: str) -> None:
    """The leader speaks for all ranks."""


def _past_experiment(args: dict[str, Any]) -> Path | None:
    """The checkpoint or folder to take up, from ``-a`` or ``-e``."""
    if args["auto_resume"]:
        folder = ExperimentFolder(_fresh_place(args))
        if folder.states():
            return folder.path
    return Path(args["past_exp"]) if args["past_exp"] else None


def _read(past: Path, team: Team) -> tuple[dict[str, Any], Path]:
    """Loads a checkpoint; of a folder the newest that can be read (only the trainer of the folder renames a damaged one)."""
    if not past.is_dir():
        return checkpoints.load(past), past
    found = checkpoints.load_latest(past, keep_damaged_name=not ExperimentFolder(past).locked) if team.leads else None
    path = team.share(found[1] if found else None)
    return found or (checkpoints.load(path), path)


def _stored_settings(
    args: dict[str, Any], given: set[str], known: Mapping[str, Collection[str]], state: dict[str, Any], path: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the checkpoint, with what belongs to the call from the new command line."""
    if not isinstance(state.get("Args"), dict) or not isinstance(state.get("Config"), dict):
        raise CheckpointError(f"{path} holds no settings (Args and Config), so -e cannot take it up; its weights load with -i, -u and -d")
    stored = state["Args"]
    kept = {k: v for k, v in args.items() if k in OF_THE_CALL or k not in stored}
    kept |= {name: args[name] for name in ("device", "cache_dir", "feature_store") if name in given}
    for name in PLUGINS:
        if stored.get(name) not in known[name] or (name in given and args[name] not in known[name]):
            kept[name] = _given_again(name, stored.get(name), args, given, known[name])
        elif args["auto_resume"] and args[name] in known[name] and args[name] != _placed(stored, known["upstream"])[name]:
            raise UsageError(
                f"-a takes up the run in {path.parent}, whose {name} is {stored[name]!r}, not {args[name]!r}: "
                "give the new run a name of its own"
            )
    placed = {"expdir"} if not args["auto_resume"] else {"expdir", "expname"}
    ignored = sorted(k for k in given - OF_THE_CALL - set(kept) - placed if args[k] != stored.get(k))
    if ignored:
        log.warning("ignored beside a past experiment: %s; -p gives it another place, -o changes its settings", ", ".join(ignored))
    return {**stored, **kept}, copy.deepcopy(state["Config"])  # -o changes it, and what the checkpoint says is still asked for


def _given_again(name: str, stored: Any, args: dict[str, Any], given: set[str], known: Collection[str]) -> str:
    """A plugin's path is code to run, so it is never taken from a file."""
    if name not in given:
        if Path(str(stored)).name == stored:
            raise UnknownNameError(f"{name} in the checkpoint", stored, known)
        raise UsageError(f"this experiment's {name} is the folder {stored}; a checkpoint must not name code to run: give --{name} again")
    return args[name]


def _place(namespace: Arguments, past: Path, path: Path) -> Path:
    """Outputs go to ``-p`` if it is given, otherwise where the checkpoint lies now."""
    if namespace.expdir:
        return Path(namespace.expdir)
    return past if past.is_dir() else path.parent


def _fresh_place(args: dict[str, Any]) -> Path:
    if args["expdir"]:
        return Path(args["expdir"])
    if not args["expname"]:
        raise UsageError("the experiment needs a name: -n NAME (files go to result/downstream/NAME) or -p FOLDER")
    return Path("result", "downstream", args["expname"])


def _require(args: dict[str, Any], given: set[str]) -> None:
    """What a run without a past experiment must say."""
    if args["mode"] == "inference" and not {"upstream", "downstream"} <= given:
        raise UsageError(_NO_CHECKPOINT)
    for name, flag in (("upstream", "-u"), ("downstream", "-d")):
        if not args[name]:
            raise UsageError(f"no {name} is given: {flag} NAME, or take up a past experiment with -e; -h lists the names")


def _check_use(args: dict[str, Any], task: Path, learnt: bool) -> None:
    """A task without training is not trained, and any other is used with what was learnt."""
    if args["mode"] == "evaluate" or (args["mode"] == "inference" and learnt):
        return
    trains = getattr(load_plugin(task, "DownstreamExpert"), "trains", True)
    if args["mode"] == "train" and not trains:
        raise UsageError(f"the task {args['downstream']!r} has nothing to train: -m evaluate gives its results")
    if args["mode"] == "inference" and trains:
        raise UsageError(_NO_CHECKPOINT)
