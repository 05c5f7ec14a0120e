"""What every trial is of: a topology, its settings and records, and where it happens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from processor.settings import Settings
from processor.topology.plan import Plan
from processor.trial.load import RowsMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried, with which records, and where.

    Attributes:
        topology: The file as nodes can load it.
        plan: Its plan.
        settings: The effective settings; those of the nodes, but for their folders.
        feeds: The records for each input topic.
        tables: Those for each topic of a global table; they are written once, before all else.
        folder: For everything that is written; it is there.
        embedded: Whether to start a Kafka; else the settings say where it is.
    """

    topology: str
    plan: Plan
    settings: Settings
    feeds: Mapping[str, RowsMaker]
    tables: Mapping[str, RowsMaker] = field(default_factory=dict[str, RowsMaker])
    folder: Path
    embedded: bool = True
