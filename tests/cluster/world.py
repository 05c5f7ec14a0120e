"""Simulated nodes around one simulated slots topic, to see where their decisions lead.

Each node reads the topic at its own pace, acts by its own `decide`, and is known to the others by
its beats alone. Time passes in steps of `TICK`; all chance comes from one seed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from processor.cluster.beats import Beat, Claim, Replica, ReplicaState, Role
from processor.cluster.decisions import decide, reason
from processor.cluster.view import View
from processor.records import Timestamp

TICK = 20
INTERVAL = 100
TIMEOUT = 1000
NOON = 1_700_000_000_000


@dataclass
class Worker:
    """A process of a node: what it is, and when it gets on."""

    role: Role
    state: ReplicaState
    next_at: int
    silent_until: int = 0

    def replica(self, slot: int, now: int) -> Replica:
        state: ReplicaState = "silent" if now < self.silent_until else self.state
        return Replica(slot, self.role, state, lag=0 if state == "ready" else 1000)


@dataclass
class Node:
    """One `kproc run`: its own view, its workers, and what it has claimed and not yet read back."""

    name: str
    boot: str
    weight: float
    zone: str
    view: View
    read_delay: int
    send_delay: int
    offset: int = 0
    next_beat: int = 0
    suspended_until: int = 0
    leaves_at: int | None = None
    pending: dict[int, int] = field(default_factory=dict[int, int])
    workers: dict[int, Worker] = field(default_factory=dict[int, Worker])

    def beat(self, now: int) -> Beat:
        held = {
            slot: holder.term
            for slot, holder in self.view.holders.items()
            if (holder.node, holder.boot) == (self.name, self.boot)
        }
        claims = held | self.pending
        return Beat(
            node=self.name,
            boot=self.boot,
            slots=self.view.slots,
            name=self.name,
            zone=self.zone,
            weight=self.weight,
            leaving=self.leaves_at is not None,
            claims=tuple(Claim(slot, term) for slot, term in sorted(claims.items())),
            replicas=self.replicas(now),
        )

    def replicas(self, now: int) -> tuple[Replica, ...]:
        return tuple(worker.replica(slot, now) for slot, worker in sorted(self.workers.items()))


class World:
    """The topic, the nodes, the broker's clock, and what has to hold at any moment."""

    def __init__(self, slots: int, backups: int, seed: int) -> None:
        self.slots, self.backups = slots, backups
        self.random = Random(seed)
        self.now = 0
        self.skew = 0
        self.broker_back_at = 0
        self.topic: list[tuple[Beat, int, int]] = []  # beat, broker's timestamp, when appended
        self.sending: list[tuple[int, int, Beat]] = []  # due, number, beat
        self.sent = 0
        self.nodes: dict[str, Node] = {}
        self.ended: list[str] = []
        self.boots = 0
        self.truth = View(slots, TIMEOUT)
        self.holders: dict[tuple[int, int], tuple[str, str]] = {}  # slot, term → node, boot
        self.claims: list[tuple[int, int, str, str]] = []  # time, slot, node, reason

    # What happens to nodes

    def start(self, name: str, weight: float = 1.0, zone: str = "") -> None:
        """A start takes longer than the way of what an earlier process of the node has sent."""
        self.sending = [
            (min(due, self.now) if beat.node == name else due, number, beat)
            for due, number, beat in self.sending
        ]
        self.boots += 1
        self.nodes[name] = Node(
            name=name,
            boot=str(self.boots),
            weight=weight,
            zone=zone,
            view=View(self.slots, TIMEOUT),
            read_delay=self.random.choice([0, 0, 20, 60, 200]),
            send_delay=self.random.choice([0, 0, 20, 60]),
        )

    def kill(self, name: str) -> None:
        del self.nodes[name]
        self.ended.append(name)

    def leave(self, name: str, working_on: int) -> None:
        """For `working_on` ms the others can take its slots one by one; then it drops them."""
        node = self.nodes[name]
        if node.leaves_at is None:
            node.leaves_at = self.now + working_on
            node.next_beat = 0

    def suspend(self, name: str, time: int) -> None:
        self.nodes[name].suspended_until = self.now + time

    def crash(self, name: str, slot: int) -> None:
        worker = self.nodes[name].workers.get(slot)
        if worker is not None:
            self._crash(self.nodes[name], worker)

    def silence(self, name: str, slot: int, time: int) -> None:
        worker = self.nodes[name].workers.get(slot)
        if worker is not None:
            worker.silent_until = self.now + time
            self.nodes[name].next_beat = 0

    def stop_broker(self, time: int) -> None:
        """Meanwhile nobody reads or writes; its clock goes on."""
        self.broker_back_at = self.now + time

    # Time

    def run(self, time: int) -> None:
        for _ in range(time // TICK):
            self.tick()

    def tick(self) -> None:
        self.now += TICK
        if self.now >= self.broker_back_at:
            self._append()
        for node in list(self.nodes.values()):
            if self.now >= node.suspended_until:
                self._live(node)

    def settle(self, limit: int) -> int:
        """Until nobody has claimed, and no worker has changed, for 3 s; ms it took.

        Raises:
            AssertionError: It goes on and on.
        """
        began, quiet_since, last = self.now, self.now, self._picture()
        while self.now - quiet_since < 3 * TIMEOUT:
            assert self.now - began < limit, f"still not settled: {self.describe()}"
            self.tick()
            picture = self._picture()
            if picture != last:
                quiet_since, last = self.now, picture
        return quiet_since - began

    def calm(self) -> None:
        """Nothing happens from now on that hasn't begun."""
        self.broker_back_at = self.now
        for node in self.nodes.values():
            node.suspended_until = self.now
            for worker in node.workers.values():
                worker.silent_until = self.now
            if node.leaves_at is not None:
                node.leaves_at = min(node.leaves_at, self.now)

    def _picture(self) -> object:
        workers = {
            (name, slot): (worker.role, worker.state)
            for name, node in self.nodes.items()
            for slot, worker in node.workers.items()
        }
        return dict(self.truth.holders), workers, len(self.claims), sorted(self.nodes)

    # The topic

    def _append(self) -> None:
        due = sorted(record for record in self.sending if record[0] <= self.now)
        self.sending = [record for record in self.sending if record[0] > self.now]
        for _, _, beat in due:
            timestamp = NOON + self.now + self.skew
            self.topic.append((beat, timestamp, self.now))
            self.truth.apply(beat, Timestamp(timestamp))
            self._check_terms(self.truth)

    def _check_terms(self, view: View) -> None:
        """Whoever reads, and how late: a slot's term has one holder."""
        for slot, holder in view.holders.items():
            known = self.holders.setdefault((slot, holder.term), (holder.node, holder.boot))
            assert known == (holder.node, holder.boot), f"two holders of {slot} by {holder.term}"

    # A node

    def _live(self, node: Node) -> None:
        for slot, worker in node.workers.items():
            self._get_on(node, slot, worker)
        if self.now >= self.broker_back_at:
            self._read(node)
        if node.leaves_at is not None and self.now >= node.leaves_at:
            self._finish(node)
        elif self.now >= node.next_beat:
            self._send(node)

    def _read(self, node: Node) -> None:
        before = node.offset
        while node.offset < len(self.topic):
            beat, timestamp, appended = self.topic[node.offset]
            if appended + node.read_delay > self.now:
                break
            node.view.apply(beat, Timestamp(timestamp))
            node.offset += 1
        if node.offset > before:
            self._check_terms(node.view)
            self._act(node)

    def _act(self, node: Node) -> None:
        for slot, term in list(node.pending.items()):
            if node.view.term(slot) >= term:
                del node.pending[slot]
        replicas = node.replicas(self.now)
        decision = decide(node.view, node.name, node.boot, self.backups, replicas)
        for slot in sorted(decision.claims):
            if slot not in node.pending:
                self._claim(node, slot)
        if node.leaves_at is None or self.now < node.leaves_at:
            for slot in set(node.workers) - set(decision.workers):
                del node.workers[slot]
                node.next_beat = 0
            for slot, role in decision.workers.items():
                self._bring(node, slot, role)

    def _claim(self, node: Node, slot: int) -> None:
        why = reason(node.view, slot)
        if why == "move":
            mine = node.view.members[node.name].replicas[slot]
            assert mine.state == "ready", f"{node.name} moves {slot} before it is ready"
            holder = node.view.members[node.view.holders[slot].node]
            assert holder.state != "dead"
        node.pending[slot] = node.view.term(slot) + 1
        self.claims.append((self.now, slot, node.name, why))
        node.next_beat = 0

    def _bring(self, node: Node, slot: int, role: Role) -> None:
        """What a supervisor does to get a worker into its role."""
        worker = node.workers.get(slot)
        if worker is None or (worker.state == "crashed" and self.now >= worker.next_at):
            node.workers[slot] = Worker(role, "starting", self._later(20, 400))
            node.next_beat = 0
        elif worker.role == role or worker.state == "crashed":
            return
        elif role == "primary":
            worker.role, worker.state = "primary", "restoring"
            worker.next_at = self._later(20, 400)
            node.next_beat = 0
        else:
            node.workers[slot] = Worker(role, "starting", self._later(20, 400))
            node.next_beat = 0

    def _get_on(self, node: Node, slot: int, worker: Worker) -> None:
        following: dict[ReplicaState, ReplicaState] = {
            "starting": "restoring",
            "restoring": "running" if worker.role == "primary" else "ready",
        }
        if worker.state == "crashed" or self.now < worker.next_at:
            return
        if worker.state in following:
            worker.state = following[worker.state]
            worker.next_at = self._later(20, self.random.choice([100, 2000]))
            node.next_beat = 0

    def _crash(self, node: Node, worker: Worker) -> None:
        worker.state = "crashed"
        worker.next_at = self._later(0, 300)
        node.next_beat = 0

    def _finish(self, node: Node) -> None:
        """It closes one worker a tick, says so, and ends when it has none."""
        if node.workers:
            del node.workers[max(node.workers)]
        self._send(node)
        if not node.workers:
            self.kill(node.name)

    def _send(self, node: Node) -> None:
        self.sent += 1
        self.sending.append((self.now + node.send_delay, self.sent, node.beat(self.now)))
        node.next_beat = self.now + INTERVAL

    def _later(self, least: int, most: int) -> int:
        return self.now + self.random.randint(least, most)

    # What has to hold when all is quiet

    def staying(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.leaves_at is None]

    def held(self) -> dict[str, list[int]]:
        """Node → its slots, of those that live."""
        held: dict[str, list[int]] = {name: [] for name in self.nodes}
        for slot, holder in self.truth.holders.items():
            node = self.nodes.get(holder.node)
            if node is not None and node.boot == holder.boot:
                held[holder.node].append(slot)
        return held

    def keepers(self, slot: int, state: ReplicaState) -> list[str]:
        """Nodes with a worker of the slot in that state."""
        return [
            name
            for name, node in self.nodes.items()
            if slot in node.workers and node.workers[slot].state == state
        ]

    def check_settled(self) -> None:
        held = self.held()
        all_held = sorted(slot for slots in held.values() for slot in slots)
        assert all_held == list(range(self.slots)), f"not all held: {self.describe()}"
        self._check_balance({name: len(slots) for name, slots in held.items()})
        copies = min(self.backups, len(self.nodes) - 1)
        for name, slots in held.items():
            for slot in slots:
                assert self.keepers(slot, "running") == [name], f"{slot}: {self.describe()}"
                ready = self.keepers(slot, "ready")
                assert len(ready) == copies, f"{slot}: {self.describe()}"
                self._check_zones(name, ready)
        workers = sum(len(node.workers) for node in self.nodes.values())
        assert workers == self.slots * (1 + copies), f"too many workers: {self.describe()}"

    def _check_balance(self, load: dict[str, int]) -> None:
        weights = {name: node.weight for name, node in self.nodes.items()}
        total = sum(weights.values())
        for name, slots in load.items():
            exact = self.slots * weights[name] / total
            assert abs(slots - exact) < 1, f"unbalanced: {self.describe()}"

    def _check_zones(self, primary: str, replicas: Iterable[str]) -> None:
        zones = {name: node.zone for name, node in self.nodes.items()}
        elsewhere = sum(zone != zones[primary] for zone in zones.values())
        far = sum(zones[name] != zones[primary] for name in replicas)
        assert far == min(elsewhere, self.backups), f"all in one zone: {self.describe()}"

    def describe(self) -> str:
        lines = [f"at {self.now} ms, {self.slots} slots, {self.backups} backups"]
        for name, node in self.nodes.items():
            workers = {slot: (w.role, w.state) for slot, w in sorted(node.workers.items())}
            lines.append(f"{name} {node.boot} {node.zone} {node.weight} {workers}")
        lines.append(f"holders: {dict(self.truth.holders)}")
        lines.append(f"last claims: {self.claims[-12:]}")
        return "\n".join(lines)
