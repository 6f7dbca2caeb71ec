"""Plugins are folders: finds those that hold an ``expert.py`` and imports the expert's class.

A folder in the repository is imported under its own name (``upstream.baseline.expert``). A folder elsewhere becomes a package of a made-up
name beside the built-in ones, so that its relative imports work: those inside the folder, and ``from ..interfaces import ...`` as well.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from utility.errors import MissingDependencyError, ToolkitError, UnknownNameError, UsageError

ROOT = Path(__file__).resolve().parents[2]
EXPERT_FILE = "expert.py"
_HOME = {"UpstreamExpert": "upstream", "DownstreamExpert": "downstream"}
_OURS = frozenset({"upstream", "downstream", "utility", "preprocess"})


def find_plugins(root: Path) -> dict[str, Path]:
    """The folders directly below ``root`` that hold an ``expert.py``, by name, sorted; those named ``_...`` or ``....`` are left out."""
    return {e.parent.name: e.parent for e in sorted(Path(root).glob(f"*/{EXPERT_FILE}")) if e.parent.name[0] not in "._"}


def find_task(name_or_path: str, root: Path) -> Path:
    """The folder of a downstream task: by its name below ``root``, or by the path of a folder elsewhere.

    Raises:
        UnknownNameError: there is no such task.
    """
    known = find_plugins(root)
    path = Path(name_or_path).expanduser()
    if name_or_path in known:
        return known[name_or_path]
    if path.is_dir():
        return path.resolve()
    raise UnknownNameError("downstream", name_or_path, known)


def load_plugin(folder: Path, class_name: str) -> type:
    """Imports ``class_name`` from ``expert.py`` of ``folder``.

    Args:
        folder: the plugin's folder, in the repository or anywhere else; its name need not be a Python identifier.
        class_name: ``"UpstreamExpert"`` or ``"DownstreamExpert"``.

    Raises:
        UsageError: there is no such folder, or it has no ``expert.py``.
        MissingDependencyError: the plugin imports a package that is not installed.
        ToolkitError: the module has no such class, or a package that it imports is broken.
    """
    folder = Path(folder).expanduser().resolve()
    if not (folder / EXPERT_FILE).is_file():
        what = "has no expert.py" if folder.is_dir() else "does not exist"
        raise UsageError(f"{folder} is no plugin folder: it {what}")
    found = getattr(_import(folder, class_name, "expert"), class_name, None)
    if not isinstance(found, type):
        raise ToolkitError(f"{folder / EXPERT_FILE} defines no class {class_name}")
    return found


def load_task_module(folder: Path, name: str) -> ModuleType:
    """Imports the module ``name`` that lies beside a task's ``expert.py``.

    Raises:
        MissingDependencyError: it imports a package that is not installed.
    """
    return _import(Path(folder).expanduser().resolve(), "DownstreamExpert", name)


def _import(folder: Path, class_name: str, module: str) -> ModuleType:
    package = _package_name(folder, class_name)
    try:
        return importlib.import_module(f"{package}.{module}")
    except (ImportError, OSError) as error:
        _explain(error, folder, package)
        raise


def load_class(file: str | Path | None, class_name: str, option: str, base: type) -> type:
    """Imports ``class_name`` from a Python file of the user.

    Args:
        file: named on the command line; never take it from a checkpoint or a config.
        class_name: the class.
        option: the option of the command line that names the file.
        base: what the class has to derive from.

    Raises:
        UsageError: no file is given, there is no such file, or it has no such class.
        MissingDependencyError: it imports a package that is not installed.
    """
    if file is None:
        raise UsageError(f"the class {class_name} is a user's: {option} FILE names the Python file that defines it")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{option} {file}: there is no such file")
    try:
        module = _run_file(path)
    except SyntaxError as error:
        raise UsageError(f"{option} {file}: line {error.lineno} is no Python: {error.msg}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, base):
        raise UsageError(f"{option} {file}: it defines no class {class_name} that derives from {base.__module__}.{base.__qualname__}")
    return found


def _run_file(path: Path) -> ModuleType:
    """Imports a file under a made-up name."""
    name = f"outside_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}_{path.stem}"
    spec = importlib.util.spec_from_loader(name, importlib.machinery.SourceFileLoader(name, str(path)), origin=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes of the file look for their own module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        _explain(error, path, name)
        raise
    return module


def _package_name(folder: Path, class_name: str) -> str:
    """The name to import the folder under; makes the package of an outside folder known first."""
    home = _HOME.get(class_name)
    if folder.parent in (ROOT / "upstream", ROOT / "downstream") and folder.name.isidentifier():
        return f"{folder.parent.name}.{folder.name}"
    unique = f"outside_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    name = f"{home}.{unique}" if home else unique
    if name not in sys.modules:
        _import_package(name, folder)
    return name


def _import_package(name: str, folder: Path) -> None:
    """Puts ``folder`` into ``sys.modules`` as the package ``name``, running its ``__init__.py`` if it has one."""
    init = folder / "__init__.py"
    loader = importlib.machinery.SourceFileLoader(name, str(init)) if init.is_file() else None
    spec = importlib.util.spec_from_loader(name, loader, origin=str(folder), is_package=True)
    spec.submodule_search_locations = [str(folder)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if loader is not None:
        try:
            loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, (ImportError, OSError)):
                _explain(error, folder, name)
            raise


def _explain(error: ImportError | OSError, folder: Path, package: str) -> None:
    """Turns an absent or broken third-party package into one sentence; returns for a fault of the plugin itself."""
    top = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else _raised_in(error)
    if not top or top in _OURS or top == package.partition(".")[0]:
        return
    if isinstance(error, ModuleNotFoundError):
        raise MissingDependencyError(top, f"the plugin {folder.name!r}") from error
    if isinstance(error, ImportError):
        raise ToolkitError(f"the plugin {folder.name!r} cannot be imported: {error}") from error
    told = " ".join(str(error).split())[:200]
    raise ToolkitError(f"the plugin {folder.name!r} needs the package {top!r}, which does not load here: {told}") from error


def _raised_in(error: OSError) -> str:
    """The package that was being imported when a library could not be loaded: a wheel for another build of torch, for one."""
    modules = [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]
    imported = [top for top in modules if top not in sys.stdlib_module_names and top != "torch"]
    return imported[-1] if imported else ""
