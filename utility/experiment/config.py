"""Reading the yaml of an experiment and checking what the Runner needs of it (specs/s3prl-core.md, section 7.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from utility.errors import ConfigError, nearest
from utility.experiment.command_line import option_names
from utility.experiment.dialect import Loader
from utility.experiment.literal import parse_literal
from utility.experiment.mlflow_run import Store

SECTIONS = ("runner", "optimizer", "scheduler", "specaug", "upstream_options", "downstream_expert")
GIVEN_BY_THE_RUNNER = ("upstream_dim", "upstream_rate")
_MOST_VALUES = 100_000


def load_config(path: str | Path) -> dict[str, Any]:
    """Reads a yaml file that holds a mapping.

    Returns:
        A dict in which no two places share a value, so that an override of one does not change another.

    Raises:
        ConfigError: missing, unreadable, empty, not yaml (with the line), not a mapping, a field given twice.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        valid = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        guess = nearest(path.name, valid)
        raise ConfigError("there is no such file" + (f"; did you mean {guess!r}?" if guess else ""), str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", str(path)) from error
    return parse_config(text, str(path))


def parse_config(text: str | bytes, source: str) -> dict[str, Any]:
    """As :func:`load_config`, of a text that came from ``source``."""
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_fault(error), source) from error
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        # PyYAML's constructors fail so on explicit tags with impossible content, such as !!int "".
        raise ConfigError(f"a value cannot be read ({error})", source) from error
    if value is None:
        raise ConfigError("is empty", source)
    if not isinstance(value, dict):
        raise ConfigError(f"is a {type(value).__name__}, not a mapping of fields", source)
    left = [_MOST_VALUES]
    return _unshared(value, (), left, source)


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    hint = "; indent with spaces, not tabs" if "'\\t'" in what else ""
    return (f"line {mark.line + 1}: " if mark else "") + f"not valid yaml ({what}){hint}"


def _unshared(value: Any, above: tuple[int, ...], left: list[int], source: str) -> Any:
    """A copy in which an anchor and its aliases are separate values."""
    left[0] -= 1
    if id(value) in above or left[0] < 0:
        raise ConfigError("has a value that contains itself" if left[0] >= 0 else f"has more than {_MOST_VALUES} values", source)
    if isinstance(value, dict):
        return {k: _unshared(v, (*above, id(value)), left, source) for k, v in value.items()}
    if isinstance(value, list):
        return [_unshared(v, (*above, id(value)), left, source) for v in value]
    return value


@dataclass(frozen=True)
class RunnerConfig:
    """The ``runner`` section, checked. A period counts in updates (``*_step``) or in epochs (``*_epoch``); the other one is None.

    Args:
        total_steps, total_epochs: length of the training, one of them: optimizer updates, or passes over the data.
        gradient_clipping: largest L2 norm of the gradient of all trainable parameters.
        gradient_accumulate_steps: micro-batches per update.
        log_step, eval_step, save_step, log_epoch, eval_epoch, save_epoch: periods.
        max_keep: numbered checkpoints that are kept.
        eval_dataloaders: splits that are evaluated during training, in order.
        fp16: S3PRL's name for ``amp: fp16``.
        amp: autocast in ``"bf16"`` or ``"fp16"``, or None.
        train_dataloader: split that is trained on.
        evaluate_ratio: share of a split's batches that is evaluated during training.
        compile: pass the models through torch.compile.
        threads: of the math library; None: from the machine.
        mlflow, tensorboard: trackers.
        mlflow_uri, mlflow_experiment: MLflow's store and the name of the experiment there; None: MLflow's defaults.
        feature_store: folder in which the states of a frozen upstream are kept, or None; ``--feature_store`` wins over it.
        feature_store_dtype: ``"fp32"`` or ``"fp16"``, of what is kept.
        feature_store_gb: 10^9 bytes that the folder may hold.
    """

    total_steps: int | None = None
    total_epochs: int | None = None
    gradient_clipping: float = math.inf
    gradient_accumulate_steps: int = 1
    log_step: int | None = None
    eval_step: int | None = None
    save_step: int | None = None
    log_epoch: int | None = None
    eval_epoch: int | None = None
    save_epoch: int | None = None
    max_keep: int = 1
    eval_dataloaders: list[str] = field(default_factory=list)
    fp16: bool = False
    amp: str | None = None
    train_dataloader: str = "train"
    evaluate_ratio: float = 1.0
    compile: bool = False
    threads: int | None = None
    mlflow: bool = False
    mlflow_uri: str | None = None
    mlflow_experiment: str | None = None
    tensorboard: bool = True
    feature_store: str | None = None
    feature_store_dtype: str = "fp32"
    feature_store_gb: float = 100.0

    @property
    def mlflow_store(self) -> Store | None:
        """Where MLflow keeps this run; None without MLflow."""
        return Store(self.mlflow_uri, self.mlflow_experiment) if self.mlflow else None


def _number(value: Any) -> int | float:
    value = parse_literal(value) if isinstance(value, str) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise ValueError("a number")
    return value


def _count(value: Any) -> int:
    number = _wanted(value, "a whole number above 0", _number)
    if number <= 0 or math.isinf(number) or int(number) != number:
        raise ValueError("a whole number above 0")
    return int(number)


def _wanted(value: Any, what: str, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except ValueError as error:
        raise ValueError(what) from error


def _positive(value: Any) -> float:
    number = _wanted(value, "a number above 0", _number)
    if number <= 0:
        raise ValueError("a number above 0")
    return float(number)


def _share(value: Any) -> float:
    number = _wanted(value, "above 0 and at most 1", _number)
    if not 0 < number <= 1:
        raise ValueError("above 0 and at most 1")
    return float(number)


def _flag(value: Any) -> bool:
    value = parse_literal(value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a name")
    return value


def _splits(value: Any) -> list[str]:
    if isinstance(value, str):
        parsed = parse_literal(value)
        value = parsed if isinstance(parsed, list) else [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value) or len(set(value)) < len(value):
        raise ValueError("a list of split names, each once")
    return list(value)


def _amp(value: Any) -> str:
    if value not in ("bf16", "fp16"):
        raise ValueError("bf16 or fp16")
    return value


def _stored_type(value: Any) -> str:
    if value not in ("fp32", "fp16"):
        raise ValueError("fp32 or fp16")
    return value


def _folder(value: Any) -> str:
    return _wanted(value, "a folder", _text)


_PERIODS = ("log", "eval", "save")
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    **{f"{period}_{unit}": _count for period in _PERIODS for unit in ("step", "epoch")},
    **dict.fromkeys(("total_steps", "total_epochs", "gradient_accumulate_steps", "max_keep", "threads"), _count),
    **dict.fromkeys(("fp16", "compile", "mlflow", "tensorboard"), _flag),
    "train_dataloader": _text,
    "gradient_clipping": _positive,
    "evaluate_ratio": _share,
    "eval_dataloaders": _splits,
    "amp": _amp,
    "mlflow_uri": _text,
    "mlflow_experiment": _text,
    "feature_store": _folder,
    "feature_store_dtype": _stored_type,
    "feature_store_gb": _positive,
}


def check_runner(config: Mapping[str, Any], training: bool = True, source: str = "config") -> RunnerConfig:
    """Checks and converts the ``runner`` section.

    Args:
        config: the whole config.
        training: whether what training alone needs must be there; without it the section may be missing.
        source: the file, for the error.

    Raises:
        ConfigError: every fault of the section at once.
    """
    section = config.get("runner")
    if section is None and not training:
        return RunnerConfig()
    if not isinstance(section, Mapping):
        raise ConfigError(
            "the section 'runner' is missing" if section is None else f"runner is {section!r}, not a section of fields", source
        )
    values, faults = _converted(section)
    if training:
        faults += _training_faults(section)
    if values.get("fp16") and values.get("amp", "fp16") != "fp16":
        faults.append("runner.fp16 and runner.amp contradict each other")
    if faults:
        raise ConfigError(faults, source)
    return RunnerConfig(**values)


def _converted(section: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    values, faults = {}, []
    valid = [f.name for f in fields(RunnerConfig)]
    for name, value in section.items():
        if name not in valid:
            guess = nearest(str(name), valid)
            faults.append(f"runner.{name} is unknown" + (f"; did you mean {guess!r}?" if guess else ""))
        elif value is not None:
            try:
                values[name] = _CONVERTERS[name](value)
            except ValueError as error:
                faults.append(f"runner.{name} is {value!r} and should be {error}")
    return values, faults


def _training_faults(section: Mapping[str, Any]) -> list[str]:
    given = {name for name, value in section.items() if value is not None}
    pairs = [("total_steps", "total_epochs"), *((f"{period}_step", f"{period}_epoch") for period in _PERIODS)]
    faults = [f"runner.{steps} is missing (or {epochs}, in epochs)" for steps, epochs in pairs if not {steps, epochs} & given]
    faults += [f"runner.{steps} and runner.{epochs} exclude each other" for steps, epochs in pairs if {steps, epochs} <= given]
    if "gradient_clipping" not in given:
        faults.append("runner.gradient_clipping is missing")
    return faults


def check_sections(config: Mapping[str, Any], training: bool = True, source: str = "config") -> None:
    """Checks the top level: the sections' kinds, and names that would clash with what the Runner passes to a task.

    Raises:
        ConfigError: every fault at once.
    """
    taken = {*option_names(), *GIVEN_BY_THE_RUNNER}
    faults = [f"the field {name!r} has the name of an argument; call it otherwise" for name in config if name in taken]
    faults += [f"the field {name!r} must be a name" for name in config if not isinstance(name, str)]
    required = ("downstream_expert", *(("optimizer",) if training else ()))
    for name in SECTIONS:
        section = config.get(name)
        if section is None or (not section and name in ("scheduler", "specaug")):
            faults += [f"the section {name!r} is missing{_misspelt(name, config)}"] if name in required else []
        elif not isinstance(section, Mapping):
            faults.append(f"{name} is {section!r}, not a section of fields")
        elif name in ("optimizer", "scheduler") and training and not isinstance(section.get("name"), str):
            faults.append(f"{name}.name is missing")
    if faults:
        raise ConfigError(faults, source)


def _misspelt(name: str, config: Mapping[str, Any]) -> str:
    guess = nearest(name, [str(key) for key in config if key not in SECTIONS])
    return f" (there is {guess!r})" if guess else ""
