"""A topology that its own file runs: `python orders.py` instead of `kproc run orders.py`.

Owns which file and variable a topology is, as workers load it from there. Nothing imports this but
the package itself.
"""

import os
import sys

from processor.errors import TopologyError
from processor.loading import is_loading
from processor.topology.topology import Topology


def run(topology: Topology, *options: str) -> None:
    """Does what `kproc run FILE` does with the file that the topology is in, and ends the process.

    Settings are those of `kproc run`: the topology's own, kproc.toml, variables KPROC_..., options.
    Workers load the file as a module, so that the call belongs at its end, under a condition:

        if __name__ == "__main__":
            run(topology, "--until-end")  # or *sys.argv[1:]

    Args:
        topology: A variable of a module that has a file, outside of functions.
        options: As `kproc run` takes them.

    Raises:
        SystemExit: At the end, with the exit code of `kproc run`.
        TopologyError: It is no such variable, or the file is being loaded as a topology.
    """
    if is_loading():
        raise TopologyError(
            "run() is called while the file is loaded, which each worker does: put it under "
            '`if __name__ == "__main__":`'
        )
    from processor.cli.main import main  # noqa: PLC0415 - slow, and not needed to write topologies

    main(["run", _place(topology), *options])


def _place(topology: Topology) -> str:
    """The file and the variable."""
    # A module is there before what it imports: the last that has it is the one that made it.
    for module in reversed([*sys.modules.values()]):
        names = getattr(module, "__dict__", {})
        found = [name for name, value in names.items() if value is topology]
        if found and names.get("__file__"):
            return f"{os.path.relpath(names['__file__'])}:{found[0]}"
    raise TopologyError(
        f"workers load {topology.name} from its file: write `topology = Topology(...)` in a Python "
        "file, outside of functions, and run() in the same file or one that imports it"
    )
