"""Finds the topology that a command names: `FILE.py`, `FILE.py:NAME` or `package.module:NAME`.

Runs the user's file, so everything that can be wrong with it shows here. Knows nothing of what is
done with a topology.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial
from importlib.machinery import SourceFileLoader
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Never

from processor.errors import TopologyError
from processor.topology.topology import Topology

_LISTED = 10

_under_way: list[str] = []
"""What is being loaded now."""


def is_loading() -> bool:
    """Whether a topology's file runs at this moment because it is loaded."""
    return bool(_under_way)


class _AsItIs(SourceFileLoader):
    """Compiles a file each time: bytecode of an earlier text of the same second may be kept."""

    def path_stats(self, path: str) -> Never:
        """Says that bytecode can't be compared with the file.

        Raises:
            OSError: Always.
        """
        raise OSError(path)


def load(spec: str) -> Topology:
    """The topology of a file or module.

    A file is run as a module called after it, once in a process, with its folder first on
    `sys.path` and the current folder last, so that it can import what lies beside it and what
    the project has. A file in a package, a folder with an `__init__.py`, is imported as a part of
    that package, so that it can import by names that begin with a dot or with the package's.

    Args:
        spec: Where it is; with `:NAME` after it the variable, needed if there are several.

    Raises:
        TopologyError: There is no such file, module or variable, or running it raised an error,
            which is the cause then.
    """
    where, _, name = spec.partition(":")
    path = Path(where)
    is_file = path.suffix == ".py" or len(path.parts) > 1 or path.exists()
    _under_way.append(spec)
    try:
        module = _run(path) if is_file else _import(where)
    finally:
        _under_way.pop()
    return _find(module, where, name)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise TopologyError(_missing(path))
    file = str(path.resolve())
    folder, packaged = _package(Path(file))
    if "." in packaged and _is_free(packaged.partition(".")[0], _first_file(folder, packaged)):
        sys.path[:] = [str(folder), *sys.path, str(Path(file).parent), str(Path.cwd())]
        try:
            return importlib.import_module(packaged)
        except (Exception, SystemExit) as error:
            raise _explained(error, file, path) from error
    name = next(filter(partial(_is_free, file=file), _names(path.stem)))
    if name in sys.modules:
        return sys.modules[name]
    if path.suffix != ".py":
        raise TopologyError(f"{path}: a topology is written in a Python file, called NAME.py")
    loader = _AsItIs(name, file)
    found = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert found is not None
    # Classes are looked up in the module by their annotations while it still runs.
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    sys.path[:] = [str(Path(file).parent), *sys.path, str(Path.cwd())]
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _explained(error, file, path) from error
    return module


def _package(file: Path) -> tuple[Path, str]:
    """The folder that holds a file's outermost package, and what the file is called from there."""
    names, folder = [file.stem], file.parent
    while folder.name.isidentifier() and (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def _first_file(folder: Path, packaged: str) -> str:
    return str(folder / packaged.partition(".")[0] / "__init__.py")


def _holds(folder: Path, module: str) -> bool:
    return (folder / module).is_dir() or (folder / f"{module}.py").is_file()


def _names(stem: str) -> Iterator[str]:
    """What a file's module may be called: as the file, if no other module is called so."""
    yield stem
    yield from (f"kproc_topology_{stem}_{number}" for number in count(1))


def _is_free(name: str, file: str) -> bool:
    """Whether the name stands for the file, or for nothing yet."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == file
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return found is None or found.origin == file


def _import(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise _explained(error, _file_of(name), name) from error
        raise TopologyError(f"there is no module {name}, and {_missing(Path(name))}") from error


def _file_of(name: str) -> str:
    try:
        found = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - a package around it that fails; that is reported already
        found = None
    return found.origin or "" if found else ""


def _find(module: ModuleType, where: str, name: str) -> Topology:
    """The topology of that name, or the only one."""
    found = {key: each for key, each in vars(module).items() if isinstance(each, Topology)}
    names = ", ".join(found)
    if name and name not in found:
        has = f"its topologies are {names}" if found else "it has no topology"
        raise TopologyError(f"{where} has no topology {name!r}: {has}")
    if not found:
        raise TopologyError(
            f'{where} has no topology: write `topology = Topology("NAME")` in it, outside of '
            "functions, and begin with `topology.stream(...)`"
        )
    if not name and len({id(each) for each in found.values()}) > 1:
        raise TopologyError(
            f"{where} has several topologies, {names}: say {where}:{next(iter(found))}"
        )
    return found[name or next(iter(found))]


def _missing(path: Path) -> str:
    """What is there instead of a file."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    files = sorted(file.name for file in folder.glob("*.py"))
    near = get_close_matches(f"{path.stem}.py", files, n=3) or files[:_LISTED]
    if not near:
        return f"there is no file {path}, and no other Python file in {folder.resolve()}"
    listed = ", ".join(str(folder / file) for file in near)
    return f"there is no file {path}; there is {listed}"


def _explained(error: BaseException, file: str, shown: Path | str) -> TopologyError:
    """The error with the last place in the user's file that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file and frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    place = f"{shown}:{lines[-1]}" if lines else str(shown)
    if isinstance(error, SystemExit):
        return TopologyError(
            f"{place}: the file ends the process while it is loaded; put what is not the topology "
            'under `if __name__ == "__main__":`'
        )
    kind = "" if isinstance(error, TopologyError) else f"{type(error).__name__}: "
    text = f"{place}: {kind}{getattr(error, 'msg', None) or error}"
    return TopologyError(f"{text}{_import_advice(error, Path(file))}")


def _import_advice(error: BaseException, file: Path) -> str:
    """What to do if a file could not import a part of its own project."""
    if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:
        above = (each for each in file.parents if _holds(each, error.name))
        return (
            f"; {error.name} is in {found}: run kproc there" if (found := next(above, None)) else ""
        )
    if isinstance(error, ImportError) and "relative import" in str(error):
        outermost, name = _package(file)
        folder = outermost if "." in name else file.parent
        return f"; put an empty __init__.py into {folder}, which makes it a package"
    return ""
