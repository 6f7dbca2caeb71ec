"""Listening tests as batches: which recordings a rater hears together, under names that tell nothing (specs/audio-generation.md, 11.2)."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from utility.audio.io import wavs_in
from utility.errors import DataError, UsageError
from utility.text.files import lines_of
from utility.text.natural import natural

URL = "https://storage.googleapis.com/mturk-experiments/{}/{}/{}.wav"
ORDER_SEED, NAME_SEED = 42, 0
_PLACES = 3
_CONDITION = re.compile(r"[\w-][\w.-]*")
_TEMPLATE = re.compile(r"[^\s,\"?#]*/\{\}/\{\}/\{\}(\.\w+)?([?#][^\s,\"]*)?")


@dataclass(frozen=True)
class Batches:
    """What is rated, in order.

    Args:
        names: the recordings of each batch; every method has each of them.
        uids: 32 hexadecimal digits by (method, name), method by method.
        urls: of each batch, in the order in which they are shown.
    """

    names: list[list[str]]
    uids: dict[tuple[str, str], str]
    urls: list[list[str]]


def recordings_of(folder: Path, methods: Sequence[str]) -> list[str]:
    """The names that the folders of all methods share, in natural order.

    Raises:
        DataError: a folder is missing or empty, has other names than the first, or a name with a space.
    """
    found = {}
    for method in methods:
        if not (folder / method).is_dir():
            raise DataError(f"there is no folder {folder / method}")
        found[method] = [path.name for path in wavs_in(folder / method)]
    first = methods[0]
    if not found[first]:
        raise DataError(f"{folder / first} holds no wav files")
    for method, names in found.items():
        if different := sorted(set(names) ^ set(found[first]), key=natural):
            raise DataError(f"{folder / method} and {folder / first} hold different recordings, such as {different[0]}")
    if spaced := [name for name in [*methods, *found[first]] if len(name.split()) != 1]:
        raise DataError(f"{spaced[0]!r} has a space in it, which separates the columns of uids.txt; rename it")
    return found[first]


def plan(condition: str, names: Sequence[str], methods: Sequence[str], batch_size: int, template: str = URL) -> Batches:
    """Deterministic: the same input gives the batches of the public program.

    Args:
        condition: the name of the experiment.
        names: in natural order.
        methods: in the order in which they are numbered.
        batch_size: recordings of each method in a batch.
        template: of the addresses, with places for condition, batch and uid.

    Raises:
        UsageError: the batches do not come out even, methods are given twice, the template has not three places, or what is in it or in
            the condition would break the table of addresses.
    """
    if template.count("{}") != _PLACES or "{" in template.replace("{}", "") or "}" in template.replace("{}", ""):
        raise UsageError(f"--url_templ needs three places {{}} (condition, batch, uid) and no other braces: {template}")
    if not _CONDITION.fullmatch(condition):
        raise UsageError(
            f"--condition {condition!r} names a folder and stands in addresses: letters, digits, dots, dashes and underscores only"
        )
    if not _TEMPLATE.fullmatch(template):
        raise UsageError(f"--url_templ must end like /{{}}/{{}}/{{}}.wav and have no spaces, commas or quotation marks: {template}")
    if len(set(methods)) < len(methods):
        raise UsageError(f"--methods names {max(methods, key=methods.count)} twice")
    if batch_size < 1 or len(names) % batch_size:
        raise UsageError(f"--batch_size {batch_size} does not divide {len(names)} recordings evenly")
    names = list(names)
    random.Random(ORDER_SEED).shuffle(names)
    numbers, order = random.Random(NAME_SEED), random.Random(ORDER_SEED)
    uids = {(method, name): f"{numbers.getrandbits(128):032x}" for method in methods for name in names}
    batches, urls = [names[start : start + batch_size] for start in range(0, len(names), batch_size)], []
    for number, batch in enumerate(batches):
        shown = [template.format(condition, number, uids[method, name]) for method in methods for name in batch]
        order.shuffle(shown)
        urls.append(shown)
    return Batches(batches, uids, urls)


def write(batches: Batches, source: Path, target: Path) -> None:
    """Copies the recordings under their uids and writes the lists; the folder appears when all of it is there.

    Args:
        batches: the plan.
        source: the folder of the methods' folders.
        target: the folder of the condition.

    Raises:
        DataError: the target exists already.
    """
    if target.exists():
        raise DataError(f"{target} exists already; remove it, or choose another --condition or --output_dir")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for number, batch in enumerate(batches.names):
        (partial / str(number)).mkdir(parents=True)
        for (method, name), uid in batches.uids.items():
            if name in batch:
                shutil.copyfile(source / method / name, partial / str(number) / f"{uid}.wav")
    for name, text in lists_of(batches).items():
        (partial / name).write_text(text, encoding="utf-8")
    partial.replace(target)


def place_of(url: str, where: str) -> tuple[str, str]:
    """Condition and uid of an address: ``.../<condition>/<batch>/<uid>.wav``, whatever query follows.

    Args:
        url: the address.
        where: it was read, for the sentence.

    Raises:
        DataError: it is none, such as one with half of a pair of brackets.
    """
    try:
        parts = urlsplit(url).path.rstrip("/").split("/")
    except ValueError as error:
        raise DataError(f"{where}: {url!r} is no address: {error}") from error
    return (parts[-3] if len(parts) > 2 else ""), Path(parts[-1]).stem


def lists_of(batches: Batches) -> dict[str, str]:
    """``batches.txt``, ``uids.txt``, ``urls.csv`` and a ``urls_<batch>.csv`` for each batch."""
    header = ",".join(f"recording_{number}_url" for number in range(len(batches.urls[0])))
    rows = [",".join(urls) for urls in batches.urls]
    return {
        "batches.txt": "".join(f"{' '.join(names)}\n" for names in batches.names),
        "uids.txt": "".join(f"{method} {name} {uid}\n" for (method, name), uid in batches.uids.items()),
        "urls.csv": "\n".join([header, *rows]),
        **{f"urls_{number}.csv": f"{header}\n{row}" for number, row in enumerate(rows)},
    }


def read_uids(path: Path) -> dict[str, tuple[str, str]]:
    """(method, file name) by uid, from ``uids.txt``.

    Raises:
        DataError: missing, or a line that is none of ``method filename uid``.
    """
    found = {}
    for number, line in enumerate(lines_of(path, "list", hint="turk_create_batch.py writes it"), start=1):
        words = line.split()
        if len(words) != _PLACES:
            raise DataError(f"{path}, line {number}: {line!r} is not 'method filename uid'")
        found[words[2]] = (words[0], words[1])
    return found
