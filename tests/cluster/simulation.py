"""A simulated application under a load, and the autoscaler at work on it; time in seconds.

Nodes have cores which their slots share fairly; a slot is one process. Slots move one after the
other to nodes below their share, each with a delay for its state and a pause. Who goes by the
figures sees what a node would report: rates over some seconds, and noise.
"""

import bisect
import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from processor.cluster.autoscale import Autoscaler, Policy, Recommendation
from processor.cluster.measure import Measurement, NodeFigures, SlotFigures

RATE_SPAN = 5
INTERVAL = 5


@dataclass(frozen=True)
class World:
    """What there is to simulate."""

    arrival: Callable[[float], float]  # records per second of all slots, at a time
    seconds: int
    slots: int = 8
    cores: float = 1.0  # of a node
    cost: float = 1e-4  # core-seconds per record
    blocked: float = 0.0  # seconds per record that a slot waits for something outside
    shares: tuple[float, ...] = ()  # of each slot; even if empty
    start: int = 5  # until a new node lives
    move: int = 2  # until a slot's state is there
    pause: float = 0.5
    state: int = 0  # bytes of a slot
    noise: float = 0.0
    dark: tuple[int, int] = (0, 0)  # from when to when figures are missing
    dark_slots: tuple[int, ...] | None = None  # of which; None: no heartbeat at all
    throughput: float = 0.0  # of the input: no more can be read, by each slot; 0: no limit
    seed: int = 0

    def share(self, slot: int) -> float:
        return self.shares[slot] / sum(self.shares) if self.shares else 1 / self.slots


@dataclass
class _Slot:
    node: int
    lag: float = 0.0
    paused: float = 0.0
    warming: tuple[int, int] | None = None  # where to, and when it will be ready
    rates: deque[tuple[float, float, float, float]] = field(
        default_factory=lambda: deque(maxlen=RATE_SPAN)
    )


@dataclass
class Outcome:
    """What happened, second by second."""

    lag: list[float] = field(default_factory=list)  # seconds of work for the nodes there are
    ordered: list[int] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    node_seconds: float = 0.0
    advice: list[Recommendation] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        """The sizes one after the other."""
        sizes = self.ordered[:1]
        sizes += [b for a, b in zip(self.ordered, self.ordered[1:], strict=False) if a != b]
        return sizes

    @property
    def reversals(self) -> int:
        """How often steps changed their direction."""
        ups = [b > a for a, b in zip(self.steps, self.steps[1:], strict=False)]
        return sum(a != b for a, b in itertools.pairwise(ups))


class Simulation:
    """An application with so many nodes at first."""

    def __init__(self, world: World, nodes: int) -> None:
        self.world = world
        self.now = 0
        self.ordered = nodes
        self._numbers = nodes
        self._nodes: dict[int, int] = dict.fromkeys(range(nodes), 0)  # node → live from
        self._leaving: set[int] = set()
        self._slots = [_Slot(slot % nodes) for slot in range(world.slots)]
        self._random = random.Random(world.seed)
        self.outcome = Outcome()

    def order(self, nodes: int) -> None:
        """Starts nodes, or has the newest leave."""
        present = sorted(set(self._nodes) - self._leaving)
        for _ in range(nodes - len(present)):
            self._nodes[self._numbers] = self.now + self.world.start
            self._numbers += 1
        self._leaving.update(present[nodes:] if nodes < len(present) else ())
        self.ordered = nodes

    def turn(self) -> None:
        """A second passes."""
        self._move()
        arrival = max(0.0, self.world.arrival(self.now))
        for number, slot in enumerate(self._slots):
            slot.lag += arrival * self.world.share(number)
        for node in self._nodes:
            self._work([slot for slot in self._slots if slot.node == node])
        self.now += 1
        self._note()

    def measure(self) -> Measurement:
        """What the nodes report."""
        world = self.world
        dark = world.dark[0] <= self.now < world.dark[1]
        live = [node for node in self._live() if node not in self._leaving]
        if dark and world.dark_slots is None:
            missing = dict.fromkeys(range(world.slots), "has no live primary")
            return Measurement(self.now, world.slots, (), (), missing, settled=False)
        hidden = world.dark_slots if dark and world.dark_slots else ()
        figures = tuple(
            self._figures(number, slot)
            for number, slot in enumerate(self._slots)
            if number not in hidden
        )
        held = [sum(slot.node == node for slot in self._slots) for node in live]
        settled = bool(held) and max(held) - min(held) <= 1 and not self._leaving
        missing = dict.fromkeys(hidden, "sent its last heartbeat 7 s ago")
        nodes = tuple(NodeFigures(str(node), world.cores) for node in live)
        return Measurement(self.now, world.slots, figures, nodes, missing, settled=settled)

    def _live(self) -> list[int]:
        return sorted(node for node, since in self._nodes.items() if since <= self.now)

    def _figures(self, number: int, slot: _Slot) -> SlotFigures:
        rates = list(slot.rates) or [(0.0, 0.0, 0.0, 0.0)]
        rate, busy, cpu, starved = (sum(each) / len(rates) for each in zip(*rates, strict=True))
        shake = self._random.gauss(1.0, self.world.noise) if self.world.noise else 1.0
        noisy = max(0.0, shake)
        return SlotFigures(
            number,
            str(slot.node),
            lag=int(slot.lag * noisy),
            rate=rate * noisy,
            busy=min(1.0, busy),
            cpu=cpu * noisy,
            starved=starved,
            bytes=self.world.state,
        )

    def _move(self) -> None:
        """Brings slots, one at a time for each node, to the nodes below their share."""
        staying = [node for node in self._live() if node not in self._leaving]
        for slot in self._slots:
            if slot.warming and self.now >= slot.warming[1]:
                slot.node, slot.warming, slot.paused = slot.warming[0], None, self.world.pause
                slot.rates.clear()
        for node in staying:
            self._draw(node, staying)
        for node in list(self._leaving):
            if not any(slot.node == node for slot in self._slots):
                self._leaving.discard(node)
                del self._nodes[node]

    def _draw(self, node: int, staying: list[int]) -> None:
        quota = len(self._slots) / len(staying)
        coming = sum(slot.warming is not None and slot.warming[0] == node for slot in self._slots)
        if coming or self._held(node) + 1 > quota + 0.999:
            return
        for slot in self._slots:
            over = slot.node in self._leaving or self._held(slot.node) > quota
            if over and slot.warming is None and slot.node != node:
                slot.warming = (node, self.now + self.world.move)
                return

    def _held(self, node: int) -> int:
        return sum(slot.node == node for slot in self._slots)

    def _work(self, slots: list[_Slot]) -> None:
        """Shares the node's cores among its slots, and has them process for a second."""
        world = self.world
        most = {id(slot): self._most(slot) for slot in slots}
        left, waiting = world.cores, sorted(slots, key=lambda slot: most[id(slot)])
        for done, slot in enumerate(waiting):
            fair = left / (len(waiting) - done)
            wanted = most[id(slot)]
            processed = min(wanted, fair / world.cost)
            left -= processed * world.cost
            slot.lag -= processed
            slot.paused = max(0.0, slot.paused - 1)
            used = processed * world.cost
            blocked = processed * world.blocked
            starved = 1.0 - used - blocked if processed < wanted - 1e-6 else 0.0
            slot.rates.append((processed, used + blocked + starved, used, max(0.0, starved)))

    def _most(self, slot: _Slot) -> float:
        """Records that a slot would process in a second with a core for itself."""
        able = max(0.0, 1.0 - slot.paused) / (self.world.cost + self.world.blocked)
        if self.world.throughput:
            able = min(able, self.world.throughput)
        return min(slot.lag, able)

    def _note(self) -> None:
        out, world = self.outcome, self.world
        live = max(1, len(self._live()))
        work = world.cost / (live * world.cores)
        out.lag.append(sum(slot.lag for slot in self._slots) * work)
        out.ordered.append(self.ordered)
        out.live.append(live)
        out.node_seconds += len(self._nodes)


def scaled(world: World, policy: Policy, nodes: int = 1) -> Outcome:
    """The world with the autoscaler at work."""
    simulation, scaler = Simulation(world, nodes), Autoscaler(policy)
    for second in range(world.seconds):
        if second % INTERVAL == 0:
            advice = scaler.advise(simulation.measure(), simulation.ordered)
            simulation.outcome.advice.append(advice)
            simulation.order(advice.nodes)
        simulation.turn()
    return simulation.outcome


def fixed(world: World, nodes: int) -> Outcome:
    """The world with a number of nodes that stays."""
    simulation = Simulation(world, nodes)
    for _ in range(world.seconds):
        simulation.turn()
    return simulation.outcome


def best_fixed(world: World, most: int, good: Callable[[Outcome], bool]) -> Outcome:
    """The fewest nodes that are good enough, in hindsight; the most if none are."""
    for nodes in range(1, most + 1):
        outcome = fixed(world, nodes)
        if good(outcome):
            return outcome
    return outcome


def interpolated(points: Mapping[float, float]) -> Callable[[float], float]:
    """A curve through points."""
    times = sorted(points)

    def value(at: float) -> float:
        place = bisect.bisect(times, at)
        if place in (0, len(times)):
            return points[times[max(0, place - 1)]]
        before, after = times[place - 1 : place + 1]
        low, high = points[before], points[after]
        return low + (high - low) * (at - before) / (after - before)

    return value
