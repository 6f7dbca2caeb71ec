"""Downloading and unpacking data sets."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from utility.errors import DataError
from utility.experiment.download import download

from .recipe import Recipe, Source

DONE = ".downloaded"
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, NotImplementedError, RuntimeError)


def fetch_all(recipe: Recipe, db_root: Path) -> list[Path]:
    """Downloads what can be downloaded; what is there is left alone, what was interrupted is continued.

    Returns:
        the files and folders that the sources became.

    Raises:
        DataError: an address serves nothing, or something else than the archive.
    """
    return [fetch(source, db_root) for source in recipe.sources]


def fetch(source: Source, db_root: Path) -> Path:
    """One source; archives are unpacked beside themselves and removed."""
    path = db_root / source.to
    if not source.unpack:
        return download(source.url, path, sha256=source.sha256)
    mark = db_root / DONE / path.name
    if not mark.exists():
        download(source.url, path, sha256=source.sha256)
        unpack(path, db_root)
        for inner in source.inner:
            archive = next(iter(sorted(db_root.rglob(inner))), None)
            if archive is None:
                raise DataError(f"{path} has no {inner}")
            unpack(archive, archive.parent)
        if source.gather:
            gather(db_root, path.stem, db_root / source.gather)
        path.unlink()
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(f"{source.url}\n", encoding="utf-8")
    return db_root


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar file; no member leaves the folder.

    Raises:
        DataError: it is neither, damaged, or has a member that leaves the folder.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
        else:
            raise DataError(f"{archive} is no archive (a page of the server, perhaps); remove it and try again, or put the right one there")
    except _DAMAGED as error:
        raise DataError(f"the archive {archive} is damaged: {error}; remove it and try again") from error


def gather(db_root: Path, name: str, target: Path) -> None:
    """Moves the recordings that an archive of this name left in its folder, or beside itself, into one folder."""
    target.mkdir(parents=True, exist_ok=True)
    folder = db_root / name if (db_root / name).is_dir() else db_root
    for path in sorted(folder.rglob("*.wav")) if folder != db_root else sorted(folder.glob("*.wav")):
        if target not in path.parents:
            shutil.move(path, target / path.name)


def root_of(recipe: Recipe, db_root: Path) -> Path:
    """Where the lists lie: below ``db_root`` as the archive has them, or ``db_root`` itself."""
    inside = db_root / recipe.root
    return inside if inside.is_dir() else db_root
