"""What the slots topic says so far: who lives, who holds which slot, and why a slot needs somebody.

All nodes read the same records in the same order, so that all have the same view at the same
offset. Time is the topic's own: it passes from record to record, as the broker's timestamps say,
and by at most a fifth of `failover_timeout` at once. So only the beats of others make a silent node
dead, and neither a broker that was away, nor a clock that was set, nor a reader that was suspended.

Knows no clock and no Kafka, and not which node it is on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from processor.cluster.beats import Beat, Claim, Reason, Replica
from processor.cluster.rivals import Rivals
from processor.records import Timestamp

FORGOTTEN_AFTER = 60_000  # ms without a beat
STEPS = 5  # records in a row that it takes at least until a silent node is dead


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a slot, since its claim."""

    node: str
    boot: str
    term: int
    since: int  # view time of the claim, ms
    at_work: bool = False  # a beat after the claim's has named the primary


@dataclass(frozen=True, slots=True)
class Member:
    """A node by its last beat."""

    beat: Beat
    heard: int  # view time of the beat, ms
    state: Literal["live", "leaving", "dead"]
    replicas: Mapping[int, Replica]  # of the beat, by slot

    @property
    def end(self) -> Literal["left", "dead"]:
        """How it ended, if it has: on purpose or not."""
        return "left" if self.beat.leaving else "dead"


class View:
    """The state of the application's nodes and slots after some records of the slots topic.

    The same records make the same view. A reader has to begin a beat of each living node before
    the first record that it decides by; beginning with the topic's first record always does.

    Args:
        slots: Of the application.
        failover_timeout: ms of view time without a beat until a node counts as dead.
        epoch: Of the application's description; nodes with an earlier one have been retired.
    """

    def __init__(self, slots: int, failover_timeout: int, epoch: int = 0) -> None:
        self.slots = slots
        self.epoch = epoch
        self.successor: str | None = None
        """The name of a node with a later epoch, if there is one: nobody with this one may work."""
        self.failover_timeout = failover_timeout
        self.time = 0
        """View time: ms since the first record, long gaps cut short."""
        self.changed = 0
        """View time when a node last joined, started again, began to leave or died, or took a slot
        that nobody worked on."""
        self._timestamp: int | None = None
        self._members: dict[str, Member] = {}  # the one with the oldest beat first
        self._former: dict[str, set[str]] = {}  # node → boots that another has followed
        self._holders: dict[int, Holder] = {}
        self._rivals = Rivals(failover_timeout)

    @property
    def members(self) -> Mapping[str, Member]:
        """All nodes with a beat in the last minute of view time."""
        return self._members

    @property
    def holders(self) -> Mapping[int, Holder]:
        """Slot → the node that had the last claim; it may be dead."""
        return self._holders

    @property
    def other_slots(self) -> tuple[int, str] | None:
        """Another number of slots that the application runs with, and the name of a node with it.

        Reported only to those who came later: a node that is wrongly set up stops only itself.
        """
        return self._rivals.proven()

    @property
    def is_contested(self) -> bool:
        """Whether nodes with another number of slots were first, and aren't known to be dead."""
        return bool(self._rivals)

    def is_replaced(self, node: str, boot: str) -> bool:
        """Whether another process has started with the node's id, so that this one has to end."""
        return boot in self._former.get(node, ())

    def live(self) -> list[Beat]:
        """The last beats of the nodes that live and don't leave, by node id."""
        members = sorted(self._members.items())
        return [member.beat for _, member in members if member.state == "live"]

    def term(self, slot: int) -> int:
        """The slot's term: how many times, or more, it has changed hands; 0 before the first."""
        holder = self._holders.get(slot)
        return holder.term if holder else 0

    def is_orphaned(self, slot: int) -> bool:
        """Whether nobody works on the slot, as far as the view knows."""
        return self.loss(slot) is not None

    def loss(self, slot: int) -> Reason | None:
        """Why nobody works on the slot; None if its holder does, or is about to.

        `start`: nobody has had it, or its node was started again. `leave`: its node leaves and has
        finished it. `crash`: its worker ended. `failure`: its node is dead, or its worker silent
        while another node is ready to go on.
        """
        holder = self._holders.get(slot)
        if holder is None:
            return "start"
        member = self._members.get(holder.node)
        if member is None:
            return "failure"
        if member.beat.boot != holder.boot:
            return "start"
        return self._ending(slot, holder, member) or self._silence(slot, member)

    def apply(self, beat: Beat, timestamp: Timestamp) -> None:
        """Takes in the topic's next record.

        Args:
            beat: The record's value.
            timestamp: The record's, set by the broker.
        """
        self._pass_time(timestamp)
        if beat.epoch > self.epoch:
            self.successor = beat.name or beat.node
        elif beat.epoch < self.epoch:
            pass
        elif beat.slots != self.slots:
            known = any(member.state != "dead" for member in self._members.values())
            self._rivals.hear(beat, self.time, first=not known)
        elif not (self.is_replaced(beat.node, beat.boot) or self._is_pretender(beat)):
            self._hear(beat)
            self._rivals.replace(beat.node)
        self._bury()
        self._rivals.bury(self.time)

    def _is_pretender(self, beat: Beat) -> bool:
        """Whether the node's id belongs to another process that lives, as when a folder was copied.

        Who was first has it until it is dead, or has left: then it was started again.
        """
        member = self._members.get(beat.node)
        if member is None or member.beat.boot == beat.boot or member.state == "dead":
            return False
        return not (member.beat.leaving and not member.beat.replicas)

    def _pass_time(self, timestamp: Timestamp) -> None:
        if self._timestamp is not None:
            longest = self.failover_timeout // STEPS
            self.time += min(max(0, timestamp - self._timestamp), longest)
        self._timestamp = timestamp

    def _hear(self, beat: Beat) -> None:
        """The order of members is that of their last beats: this one goes to the end."""
        before = self._members.pop(beat.node, None)
        state = "leaving" if beat.leaving else "live"
        replicas = {replica.slot: replica for replica in beat.replicas}
        self._members[beat.node] = Member(beat, self.time, state, replicas)
        if before is None or before.beat.boot != beat.boot or before.state != state:
            self.changed = self.time
        if before is not None and before.beat.boot != beat.boot:
            self._former.setdefault(beat.node, set()).add(before.beat.boot)
        self._note_work(beat)
        for claim in beat.claims:
            self._settle(beat, claim)

    def _note_work(self, beat: Beat) -> None:
        """Before its claims are settled: a beat says nothing yet of what it has just claimed."""
        for replica in beat.replicas:
            holder = self._holders.get(replica.slot)
            if holder is None or holder.at_work or replica.role != "primary":
                continue
            if (holder.node, holder.boot) == (beat.node, beat.boot) and replica.state != "crashed":
                self._holders[replica.slot] = replace(holder, at_work=True)

    def _settle(self, beat: Beat, claim: Claim) -> None:
        holder = self._holders.get(claim.slot)
        if holder is not None:
            if claim.term < holder.term:
                return
            if claim.term == holder.term and not self._was_void(claim, holder):
                return
        self._holders[claim.slot] = Holder(beat.node, beat.boot, claim.term, self.time)

    def _was_void(self, claim: Claim, holder: Holder) -> bool:
        """Whether who seems to hold the slot by the same claim has given it up as lost.

        A reader that begins between two claims of one term takes the second for the first; who
        has made it drops it on reading, and who has the slot goes on to say so.
        """
        member = self._members.get(holder.node)
        if member is None or member.beat.boot != holder.boot:
            return False
        return claim not in member.beat.claims

    def _bury(self) -> None:
        """The dead are found among those with the oldest beats."""
        overdue: list[str] = []
        for node, member in self._members.items():
            if self.time - member.heard < self.failover_timeout:
                break
            overdue.append(node)
        for node in overdue:
            member = self._members[node]
            if self.time - member.heard >= FORGOTTEN_AFTER:
                del self._members[node]
                self._former.pop(node, None)
            elif member.state != "dead":
                self._members[node] = replace(member, state="dead")
                self.changed = self.time if member.state == "live" else self.changed

    def _ending(self, slot: int, holder: Holder, member: Member) -> Reason | None:
        """Judges by what the node says of its worker, not by what it said before it had the slot.

        A node that doesn't start its worker in time has lost the slot nevertheless. One that has
        a backup where a primary was at work has started another worker, which needs a new claim:
        what it said in between may be read too late to act on.
        """
        replica = member.replicas.get(slot)
        if replica is not None and replica.state != "crashed":
            return "crash" if holder.at_work and replica.role == "backup" else None
        if replica is None and member.beat.leaving:
            return "leave"
        late = self.time - holder.since >= self.failover_timeout
        return "crash" if holder.at_work or late else None

    def _silence(self, slot: int, member: Member) -> Reason | None:
        if member.state == "dead":
            return "failure"
        replica = member.replicas.get(slot)
        if replica is None or replica.state != "silent":
            return None
        others = (other for other in self._members.values() if other.state == "live")
        return "failure" if any(is_ready(other.replicas.get(slot)) for other in others) else None


def is_ready(replica: Replica | None) -> bool:
    """Whether it could take over at once."""
    return replica is not None and replica.state == "ready"
