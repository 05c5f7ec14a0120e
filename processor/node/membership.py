"""Membership: a node among the nodes of its application.

Hears and reports heartbeats, and turns what `cluster` decides about them into the roles that the
node's workers should have. A slot is adopted only after the node has read its own claim, so that
all nodes agree about who has it.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processor.cluster.beats import Adoption, Beat, Claim, Reason, Replica
from processor.cluster.decisions import decide, reason
from processor.cluster.view import View
from processor.errors import Fenced, SettingsError, StateMismatch
from processor.kafka.broker_clock import clock_offset
from processor.node.identity import Identity
from processor.node.slots_topic import SlotsTopic
from processor.node.supervisor import Wanted
from processor.records import Timestamp
from processor.worker.channel import Log


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """What a member has to know of the settings; times in milliseconds."""

    name: str
    slots: int
    epoch: int
    backups: int
    failover_timeout: int
    heartbeat_interval: int
    zone: str = ""
    weight: float = 1.0
    cores: float = 0.0
    http: str = ""


class Membership:
    """A node among the others.

    Args:
        topic: The line to the other nodes.
        identity: The node's own.
        options: The settings.
        on_log: Called with what happens between nodes.
    """

    def __init__(
        self,
        topic: SlotsTopic,
        identity: Identity,
        options: MemberOptions,
        on_log: Callable[[Log], None],
    ) -> None:
        self._topic = topic
        self._identity = identity
        self._options = options
        self._on_log = on_log
        self.view = View(options.slots, options.failover_timeout, options.epoch)
        self.clock_offset: float | None = None
        """The brokers' clock, see `broker_clock`; None until a beat of this node has come back."""
        self.heard_at: float | None = None
        """When a beat of this node was last written that has come back, by `since_start`."""
        self._leaving = False
        self._reported_at = 0.0
        self._gist: object = None
        self._heard_myself = self._met = False
        self._nodes: dict[str, str] = {}
        self._claimed: dict[int, _Claimed] = {}
        self._adoptions: dict[int, Adoption] = {}

    def hear(
        self, replicas: tuple[Replica, ...], may_claim: Callable[[int], bool]
    ) -> Mapping[int, Wanted]:
        """Reads the beats that have come, and decides; which workers the node should have.

        Args:
            replicas: The workers that it has.
            may_claim: Whether a slot's worker could start now.

        Raises:
            SettingsError: The other nodes have another number of slots.
            StateMismatch: The application was changed since this node started.
            Fenced: The node was started again, or its state folder was copied.
            KprocError: The slots topic can't be used.
        """
        for beat, timestamp in self._topic.read():
            self.view.apply(beat, timestamp)
            self._check(beat)
            if beat.boot == self._identity.boot:
                self._note_claims(beat, timestamp)
                self._note_time(timestamp)
        if (other := self.view.other_slots) is not None:
            raise SettingsError(
                f"node {other[1]} runs the application with {other[0]} slots, this one with "
                f"{self._options.slots}: all nodes need the same setting `slots`"
            )
        if self.view.successor is not None:
            raise StateMismatch(
                f"the application was rescaled, reset or given another topology since this node "
                f"started; {self.view.successor} runs it so: start this node again"
            )
        self._note_nodes()
        me = self._identity
        decision = decide(self.view, me.node, me.boot, self._options.backups, replicas)
        if not self._leaving:
            self._claim(slot for slot in sorted(decision.claims) if may_claim(slot))
        return {
            slot: Wanted(role, self.view.term(slot) if role == "primary" else 0)
            for slot, role in decision.workers.items()
        }

    def report(self, replicas: tuple[Replica, ...]) -> None:
        """Reports to the others, if it is time to or there is news; `replicas` are the workers now.

        Raises:
            KafkaError: The slots topic can't be written.
        """
        beat = self._beat(replicas)
        gist, now = _gist(beat), time.monotonic()
        due = now >= self._reported_at + self._options.heartbeat_interval / 1000
        if due or gist != self._gist:
            self._reported_at, self._gist = now, gist
            self._topic.write(beat)

    def leave(self) -> None:
        """Takes no slots any more, and says so, while the node works on."""
        self._leaving = True

    @property
    def is_needed(self) -> bool:
        """Whether the node has slots that another one could take over warm."""
        me = self._identity
        holders = self.view.holders.values()
        others = any(beat.node != me.node for beat in self.view.live())
        return others and any((each.node, each.boot) == (me.node, me.boot) for each in holders)

    def close(self) -> None:
        """Reports to the others that nothing runs here any more, and leaves."""
        self._leaving = True
        self.report(())
        self._topic.close()
        self._identity.close()

    def adopted(self, slot: int, seconds: Mapping[str, Any]) -> dict[str, str]:
        """Notes that a worker has taken over its slot, and the seconds of each step; says why."""
        if (claimed := self._claimed.get(slot)) is None:
            return {}
        self._adoptions[slot] = Adoption(
            slot=slot,
            term=claimed.term,
            reason=claimed.reason,
            predecessor=claimed.predecessor,
            fence=seconds["fence_s"],
            catch_up=seconds["catch_up_s"],
            join=seconds["join_s"],
            at=claimed.at,
        )
        before = {"predecessor": claimed.predecessor} if claimed.predecessor else {}
        return {"reason": claimed.reason, **before}

    def _check(self, beat: Beat) -> None:
        mine = self._identity
        if beat.node == mine.node and beat.boot == mine.boot:
            self._heard_myself = True
        elif beat.node == mine.node and self._heard_myself:
            self._meet(beat)

    def _meet(self, other: Beat) -> None:
        """Another process has this node's id: the one that was there first goes on."""
        mine, member = self._identity, self.view.members.get(self._identity.node)
        advice = "delete the file `node` in the copy's folder of the application"
        if member is None or member.beat.boot != mine.boot:
            raise Fenced(
                f"the node {mine.node} runs already, as {other.name}: it was started again "
                f"elsewhere, or the state folder {mine.state_dir} is a copy of its. In the second "
                f"case {advice}"
            )
        if not self._met:
            text = f"{other.name} has the same id, and stays out: its state folder is a copy"
            self._on_log(
                Log(None, "warning", "copied state folder", {"cause": f"{text}; {advice}"})
            )
        self._met = True

    def _note_claims(self, beat: Beat, timestamp: Timestamp) -> None:
        for claim in beat.claims:
            claimed = self._claimed.get(claim.slot)
            if claimed is not None and claimed.term == claim.term and not claimed.at:
                claimed.at = timestamp

    def _note_nodes(self) -> None:
        members = self.view.members.items()
        nodes = {node: each.end if each.state == "dead" else each.state for node, each in members}
        for node, state in nodes.items():
            before = self._nodes.get(node)
            # Of one that had left before this one came nobody needs to hear.
            is_past = before is None and state in {"leaving", "left"}
            if before == state or is_past or node == self._identity.node:
                continue
            self._nodes[node] = state
            fields: dict[str, str | int | float] = {"node": self._name(node), "state": state}
            self._on_log(Log(None, "info", "another node", fields))

    def _note_time(self, timestamp: Timestamp) -> None:
        # What takes long to come makes the brokers' clock seem slow: the least late is the best.
        offset = clock_offset(timestamp)
        self.clock_offset = max(self.clock_offset or offset, offset)
        self.heard_at = timestamp / 1000 - self.clock_offset

    def _claim(self, slots: Iterable[int]) -> None:
        for slot in slots:
            term = self.view.term(slot) + 1
            pending = self._claimed.get(slot)
            if pending is None or pending.term < term:
                before = self._other(slot)
                self._claimed.pop(slot, None)  # it goes to the end: the order of claims counts
                self._claimed[slot] = _Claimed(term, reason(self.view, slot), before)

    def _beat(self, replicas: tuple[Replica, ...]) -> Beat:
        me, options = self._identity, self._options
        claims = tuple(
            Claim(slot, claimed.term)
            for slot, claimed in self._claimed.items()
            if self._stands(slot, claimed)
        )
        held = {claim.slot for claim in claims}
        return Beat(
            node=me.node,
            boot=me.boot,
            slots=options.slots,
            epoch=options.epoch,
            name=options.name,
            zone=options.zone,
            weight=options.weight,
            cores=options.cores,
            http=options.http,
            leaving=self._leaving,
            claims=claims,
            replicas=replicas,
            adoptions=tuple(each for slot, each in self._adoptions.items() if slot in held),
        )

    def _is_pending(self, slot: int) -> bool:
        return self.view.term(slot) < self._claimed[slot].term

    def _stands(self, slot: int, claimed: "_Claimed") -> bool:
        """Whether the claim is under way, or has made this node the holder."""
        holder = self.view.holders.get(slot)
        mine = holder is not None and holder.boot == self._identity.boot
        return self._is_pending(slot) or (mine and self.view.term(slot) == claimed.term)

    def _other(self, slot: int) -> str:
        """The name of the other node that had the slot; empty if none had it, or this one."""
        holder = self.view.holders.get(slot)
        if holder is None or holder.node == self._identity.node:
            return ""
        return self._name(holder.node)

    def _name(self, node: str) -> str:
        member = self.view.members.get(node)
        return node if member is None else member.beat.name


@dataclass(slots=True)
class _Claimed:
    """A claim, and why it was made."""

    term: int
    reason: Reason
    predecessor: str
    at: int = 0  # ms: the broker's time of the first beat with it, once that is read


def _gist(beat: Beat) -> object:
    """What the others should hear of at once."""
    states = [(each.slot, each.role, each.state) for each in beat.replicas]
    return (beat.leaving, beat.claims, states)
