"""The command line of ``run_downstream.py`` (specs/s3prl-core.md, section 2), without importing torch.

S3PRL's flags with S3PRL's names; what differs:

- ``-m`` defaults to ``train``; ``-n`` is called ``--name`` as well, ``-g`` ``--upstream_config`` as well; ``--local-rank`` is accepted.
- ``-t`` takes one or more values: a split, or the files and folders that inference reads.
- ``-o`` may be given several times; later ones win where they name the same field.
- ``--device`` defaults to ``auto``: the accelerator of the machine if there is one.
- ``--output``, ``--allow_pipes``, ``--feature_store`` and ``--model_file`` are new. Pushing to a hub is not part of this
  toolkit and says so.
"""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from utility.errors import UnknownNameError, UsageError, nearest

MODES = ("train", "evaluate", "inference")
HUBS = ("torch", "huggingface")
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")

_FALSE_WORDS = ("", "0", "false", "no", "none")


class Arguments(argparse.Namespace):
    """The parsed options.

    ``vars(arguments)`` holds the options alone, ready to be dumped; which of them the user typed lies beside them, in a slot.

    Attributes:
        given: destinations of the options that stood on the command line, e.g. ``{"mode", "upstream"}``.
    """

    __slots__ = ("given",)

    given: frozenset[str]


def _word(kind: str, valid: Sequence[str]) -> Callable[[str], str]:
    """A converter that accepts only the ``valid`` words."""

    def convert(text: str) -> str:
        if text not in valid:
            raise UnknownNameError(kind, text, valid)
        return text

    return convert


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise UnknownNameError("device", text, DEVICES)
    return text


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d+", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1")
    return int(text)


class _Joined(argparse.Action):
    """Of an option that is given several times all values hold, not only the last."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},,{values}" if before else values)


@dataclass(frozen=True)
class _Option:
    """One row of the table below; ``default`` applies when the option is not given."""

    names: tuple[str, ...]
    default: Any
    help: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def flag(self) -> bool:
        return self.default is False and not self.settings

    @property
    def destination(self) -> str:
        return self.settings.get("dest") or next(n for n in self.names if n.startswith("--")).lstrip("-").replace("-", "_")


_OPTIONS: dict[str, list[_Option]] = {
    "what to do": [
        _Option(("-m", "--mode"), "train", f"one of {', '.join(MODES)}", {"type": _word("mode", MODES)}),
        _Option(
            ("-t", "--evaluate_split"),
            ["test"],
            "the split to evaluate; for inference audio files, folders, or the two members of a pair",
            {"nargs": "+", "metavar": "SPLIT_OR_PATH"},
        ),
        _Option(
            ("--output",),
            None,
            "inference: write to this file and not to stdout; .csv makes a table",
            {"metavar": "FILE"},
        ),
        _Option(
            ("-o", "--override"),
            None,
            "change fields last of all, e.g. \"config.optimizer.lr=1.0e-3,,args.seed=7,,config.runner.eval_dataloaders=['dev','test']\"",
            {"metavar": "FIELD=VALUE[,,...]", "action": _Joined},
        ),
    ],
    "experiment": [
        _Option(
            ("-n", "--name", "--expname"),
            None,
            "name of the experiment; its folder is result/downstream/NAME",
            {"dest": "expname", "metavar": "NAME"},
        ),
        _Option(("-p", "--expdir"), None, "folder of the experiment; wins over -n", {"metavar": "DIR"}),
        _Option(("-a", "--auto_resume"), False, "go on where the experiment folder stands, or start afresh if it holds no run"),
        _Option(("-e", "--past_exp"), None, "resume or evaluate this checkpoint file or experiment folder", {"metavar": "CKPT"}),
        _Option(("-i", "--init_ckpt"), None, "checkpoint file or experiment folder to take the weights from", {"metavar": "CKPT"}),
        _Option(("-c", "--config"), None, "yaml of the experiment (default: the config.yaml of the downstream)", {"metavar": "YAML"}),
        _Option(("--seed",), 1337, "seed of everything random", {"type": _seed, "metavar": "N"}),
    ],
    "downstream": [
        _Option(("-d", "--downstream"), None, "name of the task, or a folder with an expert.py", {"metavar": "NAME"}),
        _Option(("-v", "--downstream_variant"), None, "handed to the task, e.g. the test fold of emotion", {"metavar": "TEXT"}),
        _Option(
            ("--model_file",), None, "Python file of your own network, for tasks that take one; code to read first", {"metavar": "FILE"}
        ),
    ],
    "upstream": [
        _Option(("-u", "--upstream"), None, "name of the representation, NAME:CKPT, or a folder with an expert.py", {"metavar": "NAME"}),
        _Option(("-k", "--upstream_ckpt"), None, "path or URL of its checkpoint (hf: a hub id or a folder)", {"metavar": "PATH_OR_URL"}),
        _Option(
            ("-g", "--upstream_model_config", "--upstream_config"),
            None,
            "yaml of the upstream's own settings",
            {"dest": "upstream_model_config", "metavar": "YAML"},
        ),
        _Option(("-r", "--upstream_refresh"), False, "download again what is cached"),
        _Option(("-f", "--upstream_trainable"), False, "fine-tune the upstream together with the task"),
        _Option(("-s", "--upstream_feature_selection"), "hidden_states", "key of the upstream's output that is used", {"metavar": "KEY"}),
        _Option(("-l", "--upstream_layer_selection"), None, "use this one layer (may be negative)", {"type": int, "metavar": "N"}),
        _Option(("--upstream_feature_normalize",), False, "layer-normalise each layer before the weighted sum"),
        _Option(("--feature_store",), None, "keep the states of the frozen upstream in this folder and read them back", {"metavar": "DIR"}),
        _Option(("--upstream_model_name",), "model.pt", "huggingface hub: checkpoint file in the repository", {"metavar": "FILE"}),
        _Option(("--upstream_revision",), None, "huggingface hub: commit hash", {"metavar": "HASH"}),
        _Option(("--hub",), "torch", "where -u is looked up: torch (the other runs foreign code)", {"type": _word("hub", HUBS)}),
    ],
    "machine": [
        _Option(("--device",), "auto", f"one of {', '.join(DEVICES)}", {"type": _device}),
        _Option(("--backend",), None, "of torch.distributed (default: nccl on GPUs, gloo on CPUs)", {"metavar": "NAME"}),
        _Option(("--local_rank", "--local-rank"), None, "filled in by the launcher", {"type": int, "metavar": "N"}),
        _Option(("--cache_dir",), None, "where downloads are kept", {"metavar": "DIR"}),
        _Option(("--disable_cudnn",), False, "run without cuDNN"),
        _Option(("--verbose",), False, "print the models and their parameter counts"),
        _Option(("--allow_pipes",), False, "run the shell commands that a Kaldi wav.scp may hold; only for lists that you trust"),
        _Option(("--push_to_hf_hub",), False, "not part of this toolkit: use huggingface-cli upload", {"metavar": "False"}),
        _Option(("--hf_hub_org",), None, "goes with --push_to_hf_hub", {"metavar": "NAME"}),
    ],
}


class _Parser(argparse.ArgumentParser):
    """Raises :class:`UsageError` where argparse would print and exit; ``-h`` ends with the names that can be selected."""

    listings: dict[str, Callable[[], list[str]]]

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"command line: {message}")

    def format_help(self) -> str:
        width = min(shutil.get_terminal_size().columns, 140) - 2
        text = super().format_help()
        for title, names in self.listings.items():
            listing = textwrap.fill(", ".join(names()), width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
            text += f"\n{title}:\n{listing}\n"
        return text


def _parser(listings: dict[str, Callable[[], list[str]]]) -> _Parser:
    # Without defaults of its own argparse sets only what was typed, which is how `given` is known.
    parser = _Parser(
        prog="run_downstream.py",
        description="Train a speech task on a speech representation, evaluate it, or run it on recordings.",
        argument_default=argparse.SUPPRESS,
    )
    parser.listings = listings
    for title, options in _OPTIONS.items():
        group = parser.add_argument_group(title)
        for option in options:
            shown = option.default[0] if isinstance(option.default, list) else option.default
            text = option.help + ("" if shown in (None, False) else f" (default: {shown})")
            settings = {"action": "store_true", "default": argparse.SUPPRESS} if option.flag else option.settings
            group.add_argument(*option.names, help=text.replace("%", "%%"), **settings)
    return parser


def _refuse_rest(rest: Sequence[str]) -> None:
    """What argparse could not place: an unknown flag, with the nearest one, or a stray word."""
    if not rest:
        return
    flag = next((word for word in rest if word.startswith("-")), None)
    if flag is None:
        raise UsageError(f"unexpected word {rest[0]!r} on the command line")
    name = flag.partition("=")[0]
    guess = nearest(name, [n for options in _OPTIONS.values() for o in options for n in o.names])
    raise UsageError(f"unknown option {name!r}" + (f"; did you mean {guess!r}?" if guess else "; -h lists the options"))


def _check(arguments: Arguments) -> None:
    """Faults that the options show together, before anything is read."""
    if arguments.hub == "huggingface":
        raise UsageError(
            "--hub huggingface would run code from a download: fetch it with `huggingface-cli download REPOSITORY --local-dir FOLDER`, "
            "read it, and give it as -u FOLDER -k FOLDER/model.pt"
        )
    if str(arguments.push_to_hf_hub).lower() not in _FALSE_WORDS:
        raise UsageError("--push_to_hf_hub is not part of this toolkit yet: after training run `huggingface-cli upload REPOSITORY EXPDIR`")


def parse(argv: Sequence[str], upstreams: Callable[[], list[str]], downstreams: Callable[[], list[str]]) -> Arguments:
    """Parses the command line.

    Args:
        argv: the words after the program's name.
        upstreams, downstreams: give the names that ``-h`` lists; called for ``-h`` alone.

    Returns:
        All options with their defaults (``vars()`` of it is plain data); ``.given`` names those that were typed.

    Raises:
        UsageError: any fault of the command line, in one sentence.
        SystemExit: status 0 after ``-h``.
    """
    parser = _parser({"upstreams": upstreams, "downstreams": downstreams})
    arguments, rest = parser.parse_known_args(list(argv), Arguments())
    _refuse_rest(rest)
    arguments.given = frozenset(vars(arguments))
    for options in _OPTIONS.values():
        for option in options:
            if option.destination not in arguments.given:
                default = option.default
                setattr(arguments, option.destination, list(default) if isinstance(default, list) else default)
    _check(arguments)
    return arguments


def check_values(args: dict[str, Any]) -> None:
    """Checks, and where it is text converts, the values of all options, as they are after a resume and an override.

    Raises:
        UsageError: a value that its option does not take, or an option that is missing.
    """
    for option in (o for options in _OPTIONS.values() for o in options):
        name, convert = option.destination, option.settings.get("type", str)
        if name not in args:
            raise UsageError(f"the settings lack {name!r}")
        value = args[name]
        if option.flag:
            if not isinstance(value, bool):
                raise UsageError(f"args.{name} is {value!r}; True or False is needed")
        elif option.settings.get("nargs") == "+":
            args[name] = [str(item) for item in (value if isinstance(value, list) else [value])]
        elif value is not None and name not in ("push_to_hf_hub", "hf_hub_org", "local_rank"):
            args[name] = _converted(name, value, convert)


def _converted(name: str, value: Any, convert: Callable[[str], Any]) -> Any:
    if isinstance(value, (dict, list)) or (isinstance(value, bool) and convert is not str):
        raise UsageError(f"args.{name} is {value!r}; a single word or number is needed")
    try:
        return convert(str(value))
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"args.{name}: {error}") from error


def option_names() -> list[str]:
    """The destinations of all options: what a top-level field of a config must not be called."""
    return sorted(option.destination for options in _OPTIONS.values() for option in options)
