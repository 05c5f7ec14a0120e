"""`kproc run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from processor.edges.channel import Report
    from processor.edges.node import NodeState


class _Plain:
    def report(self, report: "Report") -> None:
        import sys

        print(report, file=sys.stderr)

    def turn(self, state: "NodeState") -> None:
        pass


def run(
    topology: Annotated[str, typer.Argument(metavar="FILE.py[:NAME]", help="The topology.")],
    until_end: Annotated[bool, typer.Option("--until-end")] = False,
    dev: Annotated[bool, typer.Option("--dev")] = False,
    slots: Annotated[int | None, typer.Option("--slots")] = None,
    bootstrap: Annotated[str | None, typer.Option("--bootstrap")] = None,
    state_dir: Annotated[Path | None, typer.Option("--state-dir")] = None,
    create_topics: Annotated[bool | None, typer.Option("--create-topics")] = None,
) -> None:
    """Runs a topology."""
    from processor.edges.node import Node
    from processor.loading import load as load_topology
    from processor.settings import load
    from processor.topology.plan import plan

    loaded = load_topology(topology)
    flags: dict[str, Any] = {
        "slots": slots,
        "bootstrap": bootstrap,
        "state_dir": state_dir,
        "create_topics": create_topics,
    }
    effective = load(flags, loaded.settings)
    Node(topology, plan(loaded), effective.settings, _Plain(), until_end=until_end).run()
