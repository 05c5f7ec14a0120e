"""Schedules: the same for the same seed, and always ones that can be carried out."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.chaos.schedule import (
    ALL,
    BROKER,
    FAILURES,
    KINDS,
    OF_ROLES,
    OPERATORS,
    Fault,
    Kind,
    Terms,
    kinds_of,
    schedule,
)
from processor.errors import UsageError

TERMS = st.builds(
    Terms,
    seed=st.integers(),
    duration=st.integers(0, 600_000),
    nodes=st.integers(1, 5),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
    every=st.integers(200, 20_000),
    failover_timeout=st.integers(200, 5_000),
    brokers=st.sampled_from([1, 3]),
)


@settings(deadline=None)
@given(TERMS)
def test_a_schedule_can_be_carried_out(terms: Terms) -> None:
    faults = schedule(terms)
    assert faults == schedule(terms)
    assert faults == sorted(faults, key=lambda fault: fault.at)
    for fault in faults:
        assert fault.kind in terms.kinds
        assert 0 < fault.at <= fault.ends < terms.duration
        assert (fault.node == BROKER) == fault.kind.is_of_brokers
        assert fault.node == ALL or 0 <= fault.node <= terms.nodes
        assert fault.node != ALL or fault.kind.is_operators
    for node in range(terms.nodes + 1):
        own = [fault for fault in faults if fault.node == node]
        assert all(earlier.ends <= later.at for earlier, later in pairwise(own))


@settings(deadline=None)
@given(TERMS)
def test_one_node_is_always_left_alone(terms: Terms) -> None:
    of_nodes = [fault for fault in schedule(terms) if fault.kind.victim in {"node", "supervisor"}]
    for fault in of_nodes:
        at_once = {other.node for other in of_nodes if other.at <= fault.at < other.ends}
        assert len(at_once) < max(2, terms.nodes)


@settings(deadline=None)
@given(TERMS)
def test_no_worker_is_killed_so_often_that_its_supervisor_gives_up(terms: Terms) -> None:
    kills = [fault for fault in schedule(terms) if fault.kind == Kind("kill", "worker")]
    for fault in kills:
        recent = [k for k in kills if k.node == fault.node and 0 <= fault.at - k.at < 60_000]
        assert len(recent) <= 4


@settings(deadline=None)
@given(TERMS)
def test_an_operator_acts_on_an_application_at_rest_and_is_not_disturbed(terms: Terms) -> None:
    faults = schedule(terms)
    for act in (fault for fault in faults if fault.kind.is_operators):
        others = [fault for fault in faults if fault is not act]
        assert not any(fault.at <= act.at < fault.ends for fault in others)
        assert not any(act.at < fault.at <= act.ends + 10_000 for fault in others)


def test_a_long_one_has_all_kinds_and_suspensions_of_both_lengths() -> None:
    faults = schedule(Terms(seed=1, duration=3_600_000, nodes=3))
    assert {fault.kind for fault in faults} == set(FAILURES)
    pauses = [fault.lasts for fault in faults if fault.kind.action == "suspend"]
    assert min(pauses) < 500
    assert max(pauses) > 2_000
    assert 500 < len(faults) < 900


def test_kinds_of_all_sorts_find_their_time() -> None:
    faults = schedule(Terms(seed=1, duration=4 * 3_600_000, nodes=3, kinds=KINDS, brokers=3))
    assert {fault.kind for fault in faults} == set(KINDS)


def test_one_of_several_brokers_is_away_for_long_enough_to_be_replaced() -> None:
    faults = schedule(Terms(seed=1, duration=3_600_000, nodes=3, kinds=OF_ROLES, brokers=3))
    assert min(fault.lasts for fault in faults) < 3_000
    assert max(fault.lasts for fault in faults) > 15_000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["kill-node"], ["kill-node"]),
        (["broker"], ["kill-broker", "suspend-broker", "restart-broker"]),
        (["slots-leader"], ["kill-slots-leader", "suspend-slots-leader"]),
        (["sleeper", "delete"], ["delete-group", "rescale-sleeper", "reset-sleeper"]),
        (["operator"], list(map(str, OPERATORS))),
        (["failure", "role", "operator"], list(map(str, KINDS))),
        (["all"], list(map(str, KINDS))),
        (["restart", "restart-node"], ["restart-node", "restart-broker"]),
    ],
)
def test_words_name_kinds(words: list[str], expected: list[str]) -> None:
    assert [str(kind) for kind in kinds_of(words)] == expected


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no 'disk'; it knows all, failure, .* kill-worker"):
        kinds_of(["disk"])


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(1, Kind("kill", "worker"), 2, 7, 0), "kill a worker of node 2"),
        (Fault(1, Kind("suspend", "node"), 1, 0, 1500), "suspend node 1 for 1.5 s"),
        (Fault(1, Kind("kill", "broker"), BROKER, 0, 300), "kill the broker for 0.3 s"),
        (
            Fault(1, Kind("suspend", "input-leader"), BROKER, 0, 9000),
            "suspend the input leader for 9.0 s",
        ),
        (
            Fault(1, Kind("delete", "group"), ALL, 0, 0),
            "delete the group while all nodes are stopped",
        ),
        (
            Fault(1, Kind("rescale", "sleeper"), 2, 0, 1500),
            "rescale the slots while node 2 sleeps, which wakes up 1.5 s later",
        ),
        (
            Fault(1, Kind("copy", "folder"), 3, 0, 0),
            "copy the state folder of node 3, and start the copy",
        ),
    ],
)
def test_a_fault_reads_well(fault: Fault, text: str) -> None:
    assert str(fault) == text
