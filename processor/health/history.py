"""History: what has happened in the last minutes, to slots, to nodes and to the workers here.

Pure: from what is seen and reported to events. Memory is bounded.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from processor.cluster.overview import NodeOverview, Overview, SlotOverview, Takeover
from processor.worker.channel import CRASHED, Log

Level: TypeAlias = Literal["info", "warning", "error"]

MINUTES: Final = 15
_MOST: Final = 200
_LONGEST: Final = 2000
"""Letters of a text."""

_LASTING: Final = frozenset(("brokers", "keys are elsewhere", "copied state folder"))
"""Warnings that stay true until somebody does something."""

_RECENT: Final = 2 * 60 * 1000
"""Milliseconds for which another warning counts as how things are."""

_NODE_STATES: Final[Mapping[str, tuple[Level, str]]] = {
    "live": ("info", "is live"),
    "leaving": ("info", "is leaving"),
    "left": ("info", "has left"),
    "dead": ("error", "is dead: it sends no heartbeat"),
}


class Event(msgspec.Struct, frozen=True):
    """Something that has happened."""

    at: int  # milliseconds since 1970
    level: Level
    kind: str  # adoption, node, or what a worker or this node has logged
    text: str
    slot: int | None = None
    detail: str = ""  # a traceback


class History:
    """The last events."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MOST)
        self._lasting: dict[tuple[str, str], Event] = {}
        self._adoptions: dict[int, tuple[str, Takeover]] = {}
        self._nodes: dict[str, str] = {}

    def see(self, overview: Overview, now: int) -> None:
        """Takes in how the application looks; `now` in milliseconds since 1970."""
        for slot in overview.slots:
            self._events.extend(self._adoption(slot, now))
        for node in overview.nodes:
            self._events.extend(self._node(node, now))

    def hear(self, log: Log, now: int) -> None:
        """Takes in a line of the log, if it warns."""
        if log.level not in ("warning", "error"):
            return
        level: Level = "error" if log.level == "error" or log.event == CRASHED else "warning"
        fields = dict(log.fields)
        text = str(fields.pop("cause", fields.pop("text", ""))).strip()
        said = text.rsplit("\n", 1)[-1]
        reported = ((name, value) for name, value in fields.items() if isinstance(value, str))
        rest = ", ".join(f"{name} {value}" for name, value in reported)
        event = Event(
            now,
            level,
            log.event,
            ". ".join(filter(None, (said, rest)))[:_LONGEST],
            log.slot,
            text[-_LONGEST:] if "\n" in text else "",
        )
        self._events.append(event)
        if log.event in _LASTING:
            self._lasting[event.kind, event.text] = event

    def events(self, now: int) -> tuple[Event, ...]:
        """Those of the last minutes, the latest first."""
        recent = (each for each in self._events if each.at >= now - MINUTES * 60_000)
        return tuple(sorted(recent, key=lambda each: each.at, reverse=True))

    def warnings(self, now: int) -> list[Event]:
        """What was logged and still counts, each text once, the latest first."""
        logged = (each for each in reversed(self._events) if each.kind not in ("adoption", "node"))
        recent = [each for each in logged if each.at >= now - _RECENT]
        lasting = reversed(self._lasting.values())
        found = {(each.kind, each.slot, each.text): each for each in (*lasting, *reversed(recent))}
        return sorted(found.values(), key=lambda each: each.at, reverse=True)

    def _adoption(self, slot: SlotOverview, now: int) -> Iterator[Event]:
        adoption, primary = slot.adoption, slot.primary
        if adoption is None or primary is None:
            return
        timeless = msgspec.structs.replace(adoption, ago=None)
        if self._adoptions.get(slot.slot) == (primary.node, timeless):
            return
        self._adoptions[slot.slot] = primary.node, timeless
        before = f" from {adoption.predecessor}" if adoption.predecessor else ""
        text = f"{primary.name} took it over{before} ({adoption.reason}) in {adoption.took:.2f} s"
        level: Level = "warning" if adoption.reason in ("failure", "crash") else "info"
        yield Event(adoption.at or now, level, "adoption", text, slot.slot)

    def _node(self, node: NodeOverview, now: int) -> Iterator[Event]:
        before = self._nodes.get(node.node)
        self._nodes[node.node] = node.state
        if before == node.state or (before is None and node.state != "live"):
            return
        level, text = _NODE_STATES[node.state]
        yield Event(now, level, "node", f"{node.name} {text}")
