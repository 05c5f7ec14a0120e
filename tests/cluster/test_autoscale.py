"""What the autoscaler says, and in which words; loads over time are in properties."""

import msgspec
import pytest

from processor.cluster.autoscale import Autoscaler, Policy, Recommendation
from processor.cluster.explain import explain
from processor.cluster.measure import Measurement, NodeFigures, SlotFigures
from processor.errors import UsageError

POLICY = Policy(1, 8)


def measured(
    at: float,
    *slots: SlotFigures,
    nodes: int = 1,
    cores: float = 1.0,
    missing: dict[int, str] | None = None,
    settled: bool = True,
    restored: float = 0.0,
    pause: float = 0.0,
) -> Measurement:
    missing = missing or {}
    live = tuple(NodeFigures(str(node), cores) for node in range(nodes))
    count = len(slots) + len(missing)
    return Measurement(at, count, slots, live, missing, settled, restored, pause)


def even(
    rate: float,
    nodes: int = 1,
    *,
    slots: int = 8,
    lag: int = 0,
    cpu: float = 0.0,
    starved: float = 0.0,
    size: int = 0,
) -> list[SlotFigures]:
    """Slots that all do the same: 0.1 ms of a core for a record."""
    each = rate / slots
    used = cpu or each * 1e-4
    busy = min(1.0, used + starved)
    return [
        SlotFigures(slot, str(slot % nodes), lag // slots, each, busy, used, starved, size)
        for slot in range(slots)
    ]


def advice_for(*measurements: Measurement, policy: Policy = POLICY) -> Recommendation:
    """The last recommendation, each one followed; all is as at first for some time before."""
    scaler, nodes = Autoscaler(policy), len(measurements[0].nodes)
    scaler.advise(msgspec.structs.replace(measurements[0], at=measurements[0].at - 10), nodes)
    for measurement in measurements:
        advice = scaler.advise(measurement, nodes)
        nodes = advice.nodes
    return advice


def saturated(at: float, lag: int) -> Measurement:
    """One core, all in use, while a backlog grows."""
    return measured(at, *even(10_000, lag=lag, starved=0.875, size=50_000_000), pause=0.2)


def test_up_because_more_arrives_than_is_processed() -> None:
    scaler = Autoscaler(POLICY)
    scaler.advise(saturated(0, 0), 1)
    advice = scaler.advise(saturated(10, 100_000), 1)
    assert advice.load.arrival == pytest.approx(20_000)
    assert (advice.before, advice.nodes, advice.why) == (1, 4, "up")
    assert explain(advice, POLICY) == (
        "1 → 4 nodes because 20,000/s arrive and 100,000 records are behind, to be gone in 60 s: "
        "21,667/s are to be processed, and a node does 7,000/s at 70% of its 1 core; 6 slots with "
        "300.0 MB of state move, which takes 2 s and a pause of 0.2 s each (assumed)."
    )


def test_no_number_of_nodes_between_those_that_help() -> None:
    """Of 8 slots the fullest of 5, 6 or 7 nodes has two, as of 4."""
    found = {
        advice_for(measured(0, *even(rate, 8), nodes=1), policy=Policy(1, 8, step=8)).nodes
        for rate in range(1000, 60_000, 1000)
    }
    assert found == {1, 2, 3, 4, 8}


def test_no_more_than_a_factor_at_once() -> None:
    advice = advice_for(measured(0, *even(56_000, 8), nodes=1))
    assert (advice.nodes, advice.needed) == (4, 8)
    assert "8 are needed: the rest comes in further steps." in explain(advice, POLICY)


def test_never_more_nodes_than_slots() -> None:
    policy = Policy(1, 20, step=20)
    advice = advice_for(measured(0, *even(20_000, 2, slots=2), nodes=1), policy=policy)
    assert advice.nodes == 2
    again = advice_for(measured(0, *even(9000, 1, slots=2), nodes=3), policy=policy)
    assert (again.nodes, again.why) == (2, "bounds")
    assert explain(again, policy) == (
        "3 → 2 nodes, though 2 nodes would do: there are 2 slots, and a node without one is of no "
        "use (`kproc rescale`)."
    )


@pytest.mark.parametrize(("nodes", "expected"), [(1, 2), (9, 4)])
def test_the_bounds_hold_even_without_figures(nodes: int, expected: int) -> None:
    policy = Policy(2, 4)
    dark = Measurement(0, 8, (), (), dict.fromkeys(range(8), "has no live primary"))
    advice = Autoscaler(policy).advise(dark, nodes)
    assert (advice.nodes, advice.why) == (expected, "bounds")


def quiet(at: float, nodes: int = 4) -> Measurement:
    return measured(at, *even(2000, nodes), nodes=nodes)


def test_down_after_a_window() -> None:
    scaler = Autoscaler(POLICY)
    said = {at: scaler.advise(quiet(at), 4) for at in range(0, 311, 10)}
    assert said[0].why == "unknown"
    assert {each.why for at, each in said.items() if 0 < at < 310} == {"window"}
    assert (said[310].nodes, said[310].why) == (1, "down")
    assert explain(said[120], POLICY) == (
        "4 nodes: 2,000/s arrive, and a node does 7,000/s at 70% of its 1 core, for which 1 would "
        "do; fewer when that has held for long enough, in 3 min at the earliest."
    )
    assert explain(said[310], POLICY) == (
        "4 → 1 node because 2,000/s arrive, and a node does 7,000/s at 70% of its 1 core; 6 slots "
        "move, which takes 3 s and a pause of 0.5 s each (assumed)."
    )


def test_a_gap_in_the_figures_starts_the_window_over() -> None:
    scaler = Autoscaler(POLICY)
    for at in range(0, 300, 10):
        scaler.advise(quiet(at), 4)
    gap = measured(300, *even(2000, 4)[1:], nodes=4, missing={0: "is adopting"}, settled=False)
    assert scaler.advise(gap, 4).why == "missing"
    assert {scaler.advise(quiet(at), 4).nodes for at in range(310, 600, 10)} == {4}
    assert scaler.advise(quiet(610), 4).nodes == 1
    assert explain(scaler.advise(gap, 4), POLICY).endswith("Slot 0 is adopting.")


def test_nothing_is_stopped_while_a_slot_is_behind() -> None:
    scaler = Autoscaler(POLICY)
    advice = [
        scaler.advise(measured(at, *even(2000, 4, lag=20_000), nodes=4), 4)
        for at in range(0, 400, 10)
    ]
    assert {each.nodes for each in advice} == {4}


def test_a_step_settles_before_the_next() -> None:
    scaler = Autoscaler(POLICY)
    scaler.advise(saturated(0, 0), 1)
    assert scaler.advise(saturated(10, 100_000), 1).nodes == 4
    behind = scaler.advise(saturated(15, 150_000), 4)  # three have not come yet
    assert (behind.nodes, behind.why) == (4, "settling")
    assert "the last step still settles, 1 of 4 live" in explain(behind, POLICY)
    more = scaler.advise(saturated(20, 700_000), 4)  # but now four are not enough
    assert (more.nodes, more.why) == (8, "up")


def test_what_waits_for_a_core_is_not_at_its_limit() -> None:
    advice = advice_for(saturated(0, 0), saturated(10, 100_000))
    assert {each.limit for each in advice.load.slots} == {None}
    assert advice.load.slots[0].most == pytest.approx(10_000)


def test_a_containers_limit_starves_unnoticed() -> None:
    throttled = [SlotFigures(slot, "0", 5000 * slot, 2500, busy=1.0, cpu=0.25) for slot in range(2)]
    later = [SlotFigures(slot, "0", 50_000, 2500, busy=1.0, cpu=0.25) for slot in range(2)]
    advice = advice_for(measured(0, *throttled, cores=0.5), measured(10, *later, cores=0.5))
    assert {each.limit for each in advice.load.slots} == {None}
    assert advice.nodes == 2


def test_neighbours_that_take_a_part_of_the_core() -> None:
    """Half the core is others': a node does half as much as it would alone."""
    starved = even(5000, lag=400_000, starved=0.9375)
    advice = advice_for(measured(0, *even(5000)), measured(10, *starved))
    assert advice.load.cores == pytest.approx(0.5)


@pytest.mark.parametrize("cores", [4, 8, 64])
def test_neighbours_on_a_machine_with_more_cores_than_slots(cores: float) -> None:
    def seen(at: float, lag: int) -> Measurement:
        return measured(at, *even(10_000, slots=4, lag=lag, starved=0.75), cores=cores)

    advice = advice_for(seen(0, 400_000), seen(10, 400_000))
    assert advice.load.cores == pytest.approx(1.0)
    assert advice.nodes == 4


def hot(at: float, lag: int) -> Measurement:
    others = [SlotFigures(slot, str(slot), 0, 100, 0.01, 0.01) for slot in range(1, 4)]
    return measured(at, SlotFigures(0, "0", lag, 9500, 1.0, 0.95), *others, nodes=4)


def test_a_hot_slot_is_reported() -> None:
    advice = advice_for(hot(0, 100_000), hot(10, 200_000), policy=Policy(1, 8))
    assert advice.load.slots[0].limit == "processor"
    assert not advice.is_change
    assert (
        "Slot 0 is at the limit of what one process can do, which nodes don't raise. If the work "
        "is one hot key's or one partition's, spread it over more of them; else have more slots"
    ) in explain(advice, POLICY)


def waiting(at: float, lag: int) -> Measurement:
    slots = [SlotFigures(slot, "0", lag, 500, 0.99, 0.05) for slot in range(2)]
    return measured(at, *slots)


def test_a_slow_sink_is_reported() -> None:
    advice = advice_for(waiting(0, 10_000), waiting(10, 30_000))
    assert advice.nodes == 1
    assert "Slots 0, 1 are busy without using the processor, waiting for something outside" in (
        explain(advice, POLICY)
    )


def idle(at: float, lag: int) -> Measurement:
    slots = [SlotFigures(slot, "0", lag, 500, 0.1, 0.05) for slot in range(2)]
    return measured(at, *slots)


def test_a_slow_input_is_reported() -> None:
    advice = advice_for(idle(0, 10_000), idle(10, 30_000))
    assert advice.nodes == 1
    assert "Slots 0, 1 are behind and yet idle: records come slowly" in explain(advice, POLICY)


def test_nothing_is_known_of_records_that_nobody_has_processed() -> None:
    advice = advice_for(measured(0, SlotFigures(0, "0", 5000, 0.0, 0.0, 0.0)))
    assert (advice.nodes, advice.why) == (1, "unknown")
    assert explain(advice, POLICY).startswith(
        "1 node: nothing is known yet of what a record takes. Slot 0 is behind and yet idle"
    )


def test_what_a_start_takes_says_nothing_of_a_record() -> None:
    scaler = Autoscaler(POLICY)
    assert scaler.advise(measured(0, *even(1000, cpu=0.1)), 1).why == "unknown"
    assert scaler.advise(measured(4, *even(1000, cpu=0.1)), 1).why == "unknown"
    assert scaler.advise(measured(8, *even(1000)), 1).load.cost == pytest.approx(1e-4)


def test_an_idle_application_needs_the_least() -> None:
    scaler = Autoscaler(POLICY)
    still = [SlotFigures(slot, str(slot), 0, 0.0, 0.0, 0.01) for slot in range(2)]
    assert scaler.advise(measured(0, *still, nodes=2), 2).nodes == 2
    assert scaler.advise(measured(301, *still, nodes=2), 2).nodes == 1


def test_much_state_is_moved_less_often() -> None:
    scaler = Autoscaler(Policy(1, 8, window=60))
    size = 10_000_000_000

    def at(now: float, rate: float, nodes: int) -> Measurement:
        return measured(now, *even(rate, nodes, size=size), nodes=nodes, restored=1e8, pause=0.3)

    scaler.advise(at(-10, 20_000, 1), 1)
    assert scaler.advise(at(0, 20_000, 1), 1).nodes == 4
    downs = [now for now in range(10, 3000, 10) if scaler.advise(at(now, 100, 4), 4).nodes < 4]
    assert downs[0] >= 3 * 6 * 100  # six slots of 100 s each to one node


@pytest.mark.parametrize("bounds", [(0, 1), (3, 2)])
def test_bounds_that_contradict_themselves(bounds: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="can't be between"):
        Policy(*bounds)


@pytest.mark.parametrize("target", [0.0, 1.5])
def test_a_target_that_is_no_share(target: float) -> None:
    with pytest.raises(UsageError, match="share of the cores"):
        Policy(1, 2, target)
