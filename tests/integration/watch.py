"""What the nodes of an application say of themselves, for tests that wait for it."""

import time
from collections.abc import Callable

from processor.cluster.beats import Beat, Replica, Role
from processor.cluster.view import View
from processor.node.slots_topic import BeatsReader
from processor.records import Timestamp


class Watch:
    """Hears the application's heartbeats.

    Args:
        kafka: The broker's address.
        application: Its name; its slots topic has to be there.
        slots: Their number.
    """

    def __init__(self, kafka: str, application: str, slots: int) -> None:
        self.view = View(slots, 1000)
        self._slots = range(slots)
        self._reader = BeatsReader({"bootstrap.servers": kafka}, f"{application}-slots")

    def until(self, holds: Callable[[], bool], seconds: float = 120.0) -> None:
        """Hears on until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.view.members
            for beat, timestamp in self._reader.read(0.1):
                self._apply(beat, timestamp)

    def hear(self, seconds: float) -> None:
        """Hears on for some time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for beat, timestamp in self._reader.read(0.1):
                self._apply(beat, timestamp)

    def _apply(self, beat: Beat, timestamp: Timestamp) -> None:
        if beat.epoch > self.view.epoch:  # a description that is new
            self.view = View(len(self._slots), 1000, beat.epoch)
        self.view.apply(beat, timestamp)

    @property
    def beats(self) -> list[Beat]:
        """The last one of each node that lives."""
        return [each.beat for each in self.view.members.values() if each.state == "live"]

    @property
    def pids(self) -> set[int]:
        """The processes of the nodes that live."""
        return {_pid(beat) for beat in self.beats}

    def is_running(self) -> bool:
        """Whether every slot has a primary at work."""
        return all(self.primary(slot) is not None for slot in self._slots)

    def is_backed_up(self) -> bool:
        """Whether every slot also has a backup that has caught up."""
        return self.is_running() and all(self._find(slot, "backup") for slot in self._slots)

    def primary(self, slot: int) -> Beat | None:
        """The node that runs a slot."""
        holder = self.view.holders.get(slot)
        found = self._find(slot, "primary")
        return next((each for each in found if holder and each.boot == holder.boot), None)

    def held_by(self, pid: int) -> set[int]:
        """The slots that the node with this process runs."""
        primaries = {slot: self.primary(slot) for slot in self._slots}
        return {slot for slot, beat in primaries.items() if beat and _pid(beat) == pid}

    def _find(self, slot: int, role: Role) -> list[Beat]:
        fit = "running" if role == "primary" else "ready"

        def is_it(each: Replica) -> bool:
            return (each.slot, each.role, each.state) == (slot, role, fit)

        return [beat for beat in self.beats if any(map(is_it, beat.replicas))]


def _pid(beat: Beat) -> int:
    return int(beat.name.rpartition(":")[2])
