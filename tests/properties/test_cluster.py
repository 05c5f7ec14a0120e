"""Whatever happens to nodes, workers, clocks and broker: all slots get held, warm, balanced."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.cluster.world import INTERVAL, TICK, TIMEOUT, World
from tests.suites import LONG, examples

COMMON = settings(
    max_examples=examples(15, 500),
    deadline=None,
    derandomize=not LONG,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LIMIT = 90_000  # ms of simulated time until all has to be quiet
SLOWEST = 600  # ms: twice the longest way of a beat: the last one's and the claim's


@dataclass(frozen=True)
class Event:
    what: str
    who: int
    slot: int
    time: int  # ms that it lasts, or that pass after it


EVENTS = (
    "start", "start", "kill", "kill", "restart", "restart", "leave", "suspend", "crash", "crash",
    "silence", "clock", "broker", "pass", "pass",
)  # fmt: skip

events = st.builds(
    Event,
    what=st.sampled_from(EVENTS),
    who=st.integers(0, 5),
    slot=st.integers(0, 6),
    time=st.sampled_from([20, 60, 200, 700, 1100, 2500, 6000]),
)


@dataclass(frozen=True)
class Scenario:
    slots: int
    backups: int
    nodes: int
    weights: tuple[float, ...]
    zones: tuple[str, ...]
    seed: int
    events: tuple[Event, ...] = ()

    def world(self) -> World:
        note(f"seed {self.seed}")
        world = World(self.slots, self.backups, self.seed)
        for number in range(self.nodes):
            self.start(world, number)
        return world

    def start(self, world: World, number: int) -> None:
        weight = self.weights[number % len(self.weights)]
        world.start(f"n{number}", weight, self.zones[number % len(self.zones)])


def scenarios(longest: int, least_nodes: int = 1) -> st.SearchStrategy[Scenario]:
    return st.builds(
        Scenario,
        slots=st.integers(1, 7),
        backups=st.integers(0, 2),
        nodes=st.integers(least_nodes, 4),
        weights=st.sampled_from([(1.0,), (1.0,), (1.0, 2.0), (0.5, 1.0, 3.0)]),
        zones=st.sampled_from([("",), ("",), ("x", "y"), ("x", "y", "z"), ("x", "x", "y")]),
        seed=st.integers(0, 2**32),
        events=st.lists(events, max_size=longest).map(tuple),
    )


def happen(scenario: Scenario, world: World, event: Event) -> None:
    names = sorted(world.nodes)
    name = names[event.who % len(names)] if names else ""
    slot = event.slot % world.slots
    match event.what:
        case "start" if len(names) < 5:
            scenario.start(world, world.boots)
        case "kill" if names:
            world.kill(name)
        case "restart":
            restart(scenario, world, event.who)
        case "leave" if names:
            world.leave(name, event.time)
        case "suspend" if names:
            world.suspend(name, event.time)
        case "crash" if names:
            world.crash(name, slot)
        case "silence" if names:
            world.silence(name, slot, event.time)
        case "clock":
            world.skew += (event.time - 1000) * 1000
        case "broker":
            world.stop_broker(event.time)
        case _:
            world.run(event.time)
    world.run(min(event.time, 700) if event.who % 2 else TICK)


def restart(scenario: Scenario, world: World, who: int) -> None:
    """With the same identity; one that works is killed first."""
    ended = [name for name in dict.fromkeys(world.ended) if name not in world.nodes]
    candidates = sorted(world.nodes) + ended
    if candidates:
        name = candidates[who % len(candidates)]
        if name in world.nodes:
            world.kill(name)
        scenario.start(world, int(name[1:]))


def settled(scenario: Scenario) -> World:
    """The scenario's events are over and all is quiet."""
    world = scenario.world()
    for event in scenario.events:
        happen(scenario, world, event)
    world.calm()
    if not world.staying():
        scenario.start(world, world.boots)
    world.settle(LIMIT)
    world.check_settled()
    return world


@COMMON
@given(scenarios(longest=14))
def test_whatever_happens_all_slots_get_held_warm_and_balanced(scenario: Scenario) -> None:
    settled(scenario)


@COMMON
@given(scenarios(longest=3, least_nodes=2), st.integers(0, 5))
def test_slots_of_a_killed_node_are_claimed_after_the_timeout(scenario: Scenario, who: int) -> None:
    world = settled(scenario)
    names = sorted(world.nodes)
    if len(names) < 2:
        return
    victim, killed = names[who % len(names)], world.now
    slots = world.held()[victim]
    ready = {slot: world.keepers(slot, "ready") for slot in slots}
    world.kill(victim)
    world.run(TIMEOUT + INTERVAL + SLOWEST)
    for slot in slots:
        claims = [claim for claim in world.claims if claim[1] == slot and claim[0] > killed]
        assert {why for *_, why in claims} == {"failure"}, world.describe()
        assert world.truth.holders[slot].node in (ready[slot] or world.nodes), world.describe()
    world.settle(LIMIT)
    world.check_settled()


@COMMON
@given(scenarios(longest=0))
def test_a_node_that_joins_gets_its_share_and_nothing_else_moves(scenario: Scenario) -> None:
    world = settled(scenario)
    before = len(world.claims)
    scenario.start(world, world.boots)
    joined = f"n{world.boots - 1}"
    world.settle(LIMIT)
    world.check_settled()
    moves = world.claims[before:]
    assert {why for *_, why in moves} <= {"move"}
    assert len({slot for _, slot, _, _ in moves}) == len(moves), world.describe()
    if len(set(scenario.weights)) == 1:
        assert sorted(slot for _, slot, _, _ in moves) == sorted(world.held()[joined])


@COMMON
@given(scenarios(longest=4, least_nodes=2))
def test_who_begins_to_read_late_sees_the_same(scenario: Scenario) -> None:
    world = settled(scenario)
    late = World(scenario.slots, scenario.backups, 0)
    for beat, timestamp, _ in world.topic[-3 * 12 * len(world.nodes) :]:
        late.truth.apply(beat, timestamp)
    for slot, holder in world.truth.holders.items():
        seen = late.truth.holders[slot]
        assert (seen.node, seen.boot, seen.term) == (holder.node, holder.boot, holder.term)
