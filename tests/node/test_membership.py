"""Nodes that agree over a line in memory: claims, copies of folders, changes, leaving."""

from typing import Any

import pytest

from processor.cluster.beats import Beat, Replica
from processor.errors import Fenced, SettingsError, StateMismatch
from processor.node.identity import Identity
from processor.node.membership import MemberOptions, Membership
from processor.node.supervisor import Wanted
from processor.records import Timestamp
from processor.worker.channel import Log

NOON = 1_700_000_000_000
RUNNING = Replica(0, "primary", "running")


class Line:
    """The slots topic: all beats in one order, with the times that the test sets."""

    def __init__(self) -> None:
        self.beats: list[tuple[Beat, Timestamp]] = []
        self.now = NOON


class Place:
    """One node's place at the line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.read_to = 0

    def write(self, beat: Beat) -> None:
        self.line.beats.append((beat, Timestamp(self.line.now)))

    def read(self) -> list[tuple[Beat, Timestamp]]:
        fresh = self.line.beats[self.read_to :]
        self.read_to += len(fresh)
        return fresh

    def close(self) -> None:
        pass


class Node:
    """A node, with the workers that the test says it has."""

    def __init__(self, line: Line, name: str, *, boot: str = "1", **options: Any) -> None:
        self.logs: list[Log] = []
        self.replicas: tuple[Replica, ...] = ()
        place: Any = Place(line)
        known = {
            "slots": 1,
            "epoch": 0,
            "backups": 1,
            "failover_timeout": 1000,
            "heartbeat_interval": 0,
        }
        identity = Identity(name, boot)
        made = MemberOptions(name=f"{name}.host", **{**known, **options})
        self.member = Membership(place, identity, made, self.logs.append)

    def hears(self, *, may_claim: bool = True) -> dict[int, Wanted]:
        return dict(self.member.hear(self.replicas, lambda _slot: may_claim))

    def turns(self, *, may_claim: bool = True) -> dict[int, Wanted]:
        """It hears, then reports."""
        wanted = self.hears(may_claim=may_claim)
        self.member.report(self.replicas)
        return wanted


def settled(*nodes: Node, turns: int = 4) -> list[dict[int, Wanted]]:
    """What they want once all have heard each other."""
    wanted: list[dict[int, Wanted]] = []
    for _ in range(turns):
        wanted = [node.turns() for node in nodes]
    return wanted


def primaries(wanted: list[dict[int, Wanted]]) -> list[list[int]]:
    return [[slot for slot, each in one.items() if each.role == "primary"] for one in wanted]


def test_a_slot_is_taken_when_its_own_claim_was_read() -> None:
    line = Line()
    node = Node(line, "a")
    node.turns()  # it reports that it is there
    node.turns()  # it hears of itself, and claims
    assert line.beats[-1][0].claims[0].term == 1
    assert node.hears() == {0: Wanted("primary", 1)}


def test_of_two_claims_the_first_in_the_topic_counts() -> None:
    line = Line()
    one, other = Node(line, "a"), Node(line, "b")
    for _ in range(2):  # both hear the same before either has reported
        for node in (one, other):
            node.hears()
        for node in (other, one):
            node.member.report(())
    wanted = settled(one, other)
    assert sorted(map(len, primaries(wanted))) == [0, 1]
    assert [sorted(each) for each in wanted] == [[0], [0]]  # the other keeps it warm


def test_a_slot_whose_worker_can_not_start_is_not_claimed() -> None:
    line = Line()
    node = Node(line, "a")
    for _ in range(3):
        node.turns(may_claim=False)
    assert not any(beat.claims for beat, _ in line.beats)


def test_a_dead_node_s_slot_is_claimed_and_said_why() -> None:
    line = Line()
    dead, heir = Node(line, "a"), Node(line, "b")
    settled(dead)
    dead.replicas = (RUNNING,)
    settled(dead, heir)
    heir.replicas = (Replica(0, "backup", "ready"),)
    for _ in range(30):
        line.now += 100
        wanted = heir.turns()
    assert wanted == {0: Wanted("primary", 2)}
    fields = heir.member.adopted(0, {"fence_s": 0.1, "catch_up_s": 0.2, "join_s": 0.3})
    assert fields == {"reason": "failure", "predecessor": "a.host"}
    heir.turns()
    (adoption,) = line.beats[-1][0].adoptions
    assert (adoption.slot, adoption.term, adoption.reason) == (0, 2, "failure")


def test_what_has_not_changed_is_reported_when_it_is_time_alone() -> None:
    line = Line()
    node = Node(line, "a", heartbeat_interval=60_000)
    settled(node)
    before = len(line.beats)
    node.member.report(())
    assert len(line.beats) == before
    node.member.report((RUNNING,))  # news
    assert len(line.beats) == before + 1


def test_who_leaves_claims_nothing_and_is_needed_until_another_has_its_slots() -> None:
    line = Line()
    one, other = Node(line, "a"), Node(line, "b")
    settled(one)
    one.replicas = (RUNNING,)
    settled(one, other)
    one.member.leave()
    one.turns()
    assert line.beats[-1][0].leaving
    assert one.member.is_needed
    other.replicas = (Replica(0, "backup", "ready"),)
    settled(one, other)
    assert not one.member.is_needed
    one.member.close()
    assert line.beats[-1][0].leaving
    assert not line.beats[-1][0].claims


def test_a_node_that_left_is_not_said_to_be_dead() -> None:
    line = Line()
    one, other = Node(line, "a"), Node(line, "b")
    settled(one, other)
    one.member.leave()
    one.turns()
    one.member.close()
    for _ in range(10):
        line.now += 300
        settled(other, turns=1)
    seen = [log.fields["state"] for log in other.logs if log.event == "another node"]
    assert seen == ["live", "leaving", "left"]
    late = Node(line, "c")
    settled(other, late)
    assert [log.fields["node"] for log in late.logs if log.event == "another node"] == ["b.host"]


def test_a_node_alone_is_needed_by_nobody() -> None:
    node = Node(Line(), "a")
    settled(node)
    assert not node.member.is_needed


def test_a_newcomer_with_another_number_of_slots_is_refused() -> None:
    line = Line()
    there, newcomer = Node(line, "a"), Node(line, "b", slots=2)
    settled(there)
    with pytest.raises(SettingsError, match=r"a\.host runs the application with 1 slots"):
        settled(newcomer, there)
    settled(there)


def test_a_node_ends_when_the_application_was_changed_since() -> None:
    line = Line()
    node = Node(line, "a")
    settled(node)
    Node(line, "b", epoch=1).member.report(())
    with pytest.raises(StateMismatch, match=r"b\.host runs it so: start this node again"):
        node.turns()


def test_of_two_with_one_id_the_second_ends() -> None:
    line = Line()
    first, copy = Node(line, "a"), Node(line, "a", boot="2")
    settled(first)
    copy.turns()
    first.turns()
    with pytest.raises(Fenced, match="the node a runs already"):
        settled(copy, first)
    assert [log.event for log in first.logs] == ["copied state folder"]


def test_nodes_that_come_and_go_are_named() -> None:
    line = Line()
    one, other = Node(line, "a"), Node(line, "b")
    settled(one, other)
    other.member.close()
    one.turns()
    said = [(log.fields["node"], log.fields["state"]) for log in one.logs]
    assert said == [("b.host", "live"), ("b.host", "leaving")]
