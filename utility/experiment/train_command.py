"""Reads a shell command far enough to tell which trainings it starts; for ``run_while.sh``, hence without any heavy import."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NoReturn

ENTRY = "run_downstream.py"
OPERATORS = frozenset({";", "&&", "||", "|", "&", "\n"})
_LAUNCHER = re.compile(r"(python|pypy)[\d.]*|torchrun|accelerate|deepspeed")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*=)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Training:
    """One training command: whether it resumes by itself (-a), and the experiment folder that it names, if it names one."""

    auto_resume: bool
    folder: Path | None


def to_shell(words: list[str]) -> str:
    """One line for bash out of the words of a command line.

    A single word is a line already. Several are quoted so that bash sees what the user's shell saw (an ``-o`` value keeps its quotes and
    spaces), except operators that stand alone and the names of leading assignments (``CUDA_VISIBLE_DEVICES=0 python3 ...``).
    """
    if len(words) == 1:
        return words[0]
    parts, at_start = [], True
    for word in words:
        assignment = _ASSIGNMENT.fullmatch(word) if at_start else None
        operator = word in OPERATORS
        if operator:
            parts.append(word)
        elif assignment:
            parts.append(assignment[1] + shlex.quote(assignment[2]))
        else:
            parts.append(shlex.quote(word))
        at_start = operator or bool(assignment)
    return " ".join(parts)


def split_commands(line: str) -> tuple[list[list[str]], list[str]]:
    """The simple commands of a line and the operators between them; a line that bash has to judge itself gives one command of no words."""
    line = line.replace("&>", ">").replace(">&", ">").replace("\n", " ; ")  # an & that redirects separates nothing
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    commands: list[list[str]] = [[]]
    operators: list[str] = []
    try:
        for token in lexer:
            if token in OPERATORS:
                operators.append(token)
                commands.append([])
            else:
                commands[-1].append(token)
    except ValueError:  # an unclosed quote: bash will say so
        return [[]], []
    if operators and not commands[-1]:
        commands.pop()
    return commands, operators


def find_trainings(line: str) -> list[Training]:
    """The trainings that a shell line starts itself; those inside a script are not seen."""
    found = (as_training(words) for words in split_commands(line)[0])
    return [training for training in found if training]


def stops_on_success(line: str) -> bool:
    """Whether status 0 of the line means that every training in it ended with status 0: there is one, joined by ``&&`` alone."""
    return bool(find_trainings(line)) and all(operator == "&&" for operator in split_commands(line)[1])


def as_training(words: list[str]) -> Training | None:
    """The training that one simple command starts, directly or below other programs; None if it does anything else.

    Launchers of Python are known. Whatever else stands in front (``nohup``, ``nice -n 5``, ``uv run``, ``srun`` ...) is taken to start the
    program if options of a training follow, which they do not after ``cat run_downstream.py``.
    """
    words = [word.strip("()") for word in words]
    names = [PurePath(word).name for word in words]
    if ENTRY not in names:
        return None
    entry = names.index(ENTRY)
    before = [word for word in words[:entry] if not _ASSIGNMENT.fullmatch(word)]
    runs = not before or any(_LAUNCHER.fullmatch(PurePath(word).name) for word in before)
    try:
        args, _ = _parser().parse_known_args(words[entry + 1 :])
    except _NotUnderstood:  # run_downstream.py will say why and end with status 2
        return Training(auto_resume=True, folder=None) if runs else None
    if args.help or args.mode not in (None, "train") or not (runs or any(vars(args).values())):
        return None
    return Training(args.auto_resume, _folder(args))


def _folder(args: argparse.Namespace) -> Path | None:
    if args.expdir:
        return Path(args.expdir)
    if args.expname:
        return Path("result/downstream", args.expname)
    if args.past_exp:
        past = Path(args.past_exp)
        return past if past.is_dir() else past.parent
    return None


class _NotUnderstood(Exception):  # noqa: N818 - never leaves this file
    """The options do not parse."""


class _QuietParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotUnderstood(message)


def _parser() -> argparse.ArgumentParser:
    """The short options of run_downstream.py, so that a value is never taken for an option, and the long ones that matter here."""
    parser = _QuietParser(add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-a", "--auto_resume", action="store_true")
    parser.add_argument("-m", "--mode")
    parser.add_argument("-n", "--expname", "--name")
    parser.add_argument("-p", "--expdir")
    parser.add_argument("-e", "--past_exp")
    parser.add_argument("-f", action="store_true")
    parser.add_argument("-r", action="store_true")
    for letter in "toicdvukgsl":
        parser.add_argument(f"-{letter}")
    return parser
