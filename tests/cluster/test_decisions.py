import pytest

from processor.cluster.beats import ReplicaState
from processor.cluster.decisions import decide, reason
from tests.cluster.topic import TIMEOUT, Topic, backup, primary


def pair() -> Topic:
    """A works on the only slot, B has a ready replica, and nothing has changed for a while."""
    topic = Topic().says("a", claims={0: 1}).says("b", backup())
    topic.says("a", primary(), claims={0: 1})
    return topic.passes(TIMEOUT, "a", "b")


def test_before_its_own_first_beat_a_node_decides_nothing() -> None:
    decision = Topic().says("a").decide("b")
    assert (decision.claims, decision.workers) == (frozenset(), {})


def test_the_only_node_claims_all_slots() -> None:
    assert Topic(slots=3).says("a").claims("a") == {0, 1, 2}


def test_a_claim_is_made_again_until_it_is_read_back() -> None:
    topic = Topic().says("a")
    assert topic.claims("a") == topic.says("a").claims("a") == {0}
    assert not topic.says("a", claims={0: 1}).claims("a")


def test_all_is_quiet_while_the_holder_works() -> None:
    topic = pair()
    assert not topic.claims("a")
    assert not topic.claims("b")
    assert topic.decide("a").workers == {0: "primary"}
    assert topic.decide("b").workers == {0: "backup"}


def test_the_backup_of_a_dead_node_claims_at_the_beat_that_makes_it_dead() -> None:
    topic = pair()
    topic.passes(TIMEOUT - 100, "b")
    assert not topic.claims("b")
    assert topic.passes(100, "b").claims("b") == {0}


def test_of_several_replicas_one_claims() -> None:
    topic = pair().says("c", backup())
    topic.passes(TIMEOUT, "b", "c")
    assert (topic.claims("b"), topic.claims("c")) == ({0}, set())


def test_an_orphan_is_claimed_ready_or_not() -> None:
    topic = Topic().says("a", claims={0: 1}).says("b", backup(state="restoring"))
    assert topic.passes(TIMEOUT, "b").claims("b") == {0}


def test_several_orphans_are_claimed_at_once() -> None:
    topic = Topic(slots=3).says("a", claims={0: 1, 1: 1, 2: 1})
    topic.says("b", *map(backup, range(3))).passes(TIMEOUT, "b")
    assert topic.claims("b") == {0, 1, 2}


def test_a_slot_is_claimed_as_soon_as_its_node_says_that_it_has_finished() -> None:
    topic = pair().says("a", claims={0: 1}, leaving=True)
    assert topic.claims("b") == {0}
    assert reason(topic.view, 0) == "leave"


def test_a_crashed_worker_s_slot_goes_to_the_ready_replica() -> None:
    topic = pair().says("a", primary(state="crashed"), claims={0: 1})
    assert (topic.claims("a"), topic.claims("b")) == (set(), {0})
    assert reason(topic.view, 0) == "crash"


def test_the_node_of_a_crashed_worker_does_not_start_it_before_another_claim() -> None:
    topic = pair().says("a", primary(state="crashed"), claims={0: 1})
    assert topic.decide("a").workers == {0: "backup"}


def test_a_crashed_worker_is_restarted_in_place_by_the_next_term() -> None:
    topic = Topic().says("a", claims={0: 1}).says("a", primary(), claims={0: 1})
    topic.says("a", primary(state="crashed"), claims={0: 1})
    assert topic.claims("a") == {0}
    topic.says("a", primary(state="crashed"), claims={0: 2})
    decision = topic.decide("a")
    assert (decision.claims, decision.workers) == (frozenset(), {0: "primary"})


def test_a_silent_worker_stays_until_another_node_has_claimed() -> None:
    topic = pair().says("a", primary(state="silent"), claims={0: 1})
    assert topic.claims("b") == {0}
    assert topic.decide("a").workers == {0: "primary"}
    topic.says("b", backup(), claims={0: 2})
    assert topic.decide("a").workers == {0: "backup"}


def test_a_worker_started_again_as_a_backup_leaves_the_slot_to_the_ready_one() -> None:
    topic = pair().says("a", primary(state="crashed"), claims={0: 1})
    topic.says("a", backup(state="starting"), claims={0: 1})
    assert (topic.claims("a"), topic.claims("b")) == (set(), {0})
    assert topic.decide("a").workers == {0: "backup"}


def test_a_stuck_worker_is_its_node_s_to_end() -> None:
    topic = pair().says("a", primary(state="stuck"), claims={0: 1})
    assert topic.claims("b") == set()
    assert topic.decide("a").workers == {0: "primary"}
    topic.says("a", primary(state="crashed"), claims={0: 1})
    assert (topic.claims("a"), topic.claims("b")) == (set(), {0})


def test_who_was_superseded_turns_into_a_backup() -> None:
    topic = pair().says("b", backup(), claims={0: 2})
    assert topic.decide("a").workers == {0: "backup"}
    assert topic.decide("b").workers == {0: "primary"}


def test_the_loser_of_two_claims_becomes_a_backup() -> None:
    topic = Topic().says("a").says("b").says("a", claims={0: 1}).says("b", claims={0: 1})
    assert topic.decide("b").workers == {0: "backup"}
    assert not topic.claims("b")


def test_who_seems_dead_claims_nothing_and_keeps_its_workers() -> None:
    topic = Topic(slots=2).says("a", claims={0: 1}).says("b", claims={1: 1})
    topic.says("a", primary(0), backup(1), claims={0: 1})
    topic.says("b", primary(1), backup(0), claims={1: 1}).passes(TIMEOUT, "b")
    assert topic.decide("a").workers == {0: "primary", 1: "backup"}
    assert not topic.claims("a")


def test_another_start_of_the_same_node_decides_nothing() -> None:
    topic = pair().passes(TIMEOUT, "b").says("a", boot="2")
    assert not topic.decide("a", boot="1").workers
    assert topic.decide("a", boot="2").workers


def test_who_leaves_claims_nothing_and_backs_nobody_up() -> None:
    topic = Topic(slots=2).says("a", claims={0: 1}).says("b")
    topic.says("a", primary(0), backup(1), claims={0: 1}, leaving=True)
    assert not topic.claims("a")
    assert topic.decide("a").workers == {0: "primary"}
    topic.says("a", claims={0: 1}, leaving=True)
    assert topic.decide("a").workers == {}


def test_nothing_is_decided_while_others_with_more_slots_may_live() -> None:
    topic = Topic(slots=2).says("a", primary(), slots=3).says("n")
    assert not topic.claims("n")
    assert topic.passes(TIMEOUT, "n").claims("n") == {0, 1}


def test_a_node_stops_no_worker_that_its_last_beat_does_not_report() -> None:
    topic = Topic().says("a", claims={0: 1}).says("a", primary(), claims={0: 1}).says("b")
    topic.says("c", backup(state="restoring"))
    starting = backup(state="starting")
    assert decide(topic.view, "b", "1", 1).workers == {}
    assert decide(topic.view, "b", "1", 1, [starting]).workers == {0: "backup"}


def moving(state: ReplicaState = "running", mine: ReplicaState = "ready") -> Topic:
    """A works on both slots; B, with a replica of the second, has just joined."""
    topic = Topic(slots=2).says("a", claims={0: 1, 1: 1})
    topic.says("a", primary(0), primary(1, state), claims={0: 1, 1: 1})
    return topic.says("b", backup(1, mine))


def test_a_slot_moves_to_the_node_that_it_belongs_to() -> None:
    topic = moving().passes(TIMEOUT, "a", "b")
    assert (topic.claims("a"), topic.claims("b")) == (set(), {1})
    assert reason(topic.view, 1) == "move"


def test_no_move_while_membership_has_just_changed() -> None:
    topic = moving().passes(TIMEOUT - 100, "a", "b")
    assert not topic.claims("b")
    topic.says("c").passes(TIMEOUT - 100, "a", "b", "c")
    assert not topic.claims("b")


def test_no_move_while_a_slot_was_just_taken_over() -> None:
    topic = moving().passes(TIMEOUT, "a", "b")
    assert topic.claims("b") == {1}
    topic.says("a", primary(0, "crashed"), primary(1), claims={0: 1, 1: 1})
    topic.says("a", primary(0), primary(1), claims={1: 1, 0: 2})
    assert not topic.claims("b")


@pytest.mark.parametrize("mine", ["starting", "restoring", "silent", "crashed"])
def test_no_move_to_who_is_not_ready(mine: ReplicaState) -> None:
    topic = moving(mine=mine).passes(TIMEOUT, "a", "b")
    assert not topic.claims("b")
    assert topic.decide("b").workers[1] == "backup"


@pytest.mark.parametrize("state", ["starting", "restoring", "stopping", "stuck"])
def test_no_move_away_from_who_is_not_running(state: ReplicaState) -> None:
    assert not moving(state).passes(TIMEOUT, "a", "b").claims("b")


def test_no_move_while_another_replica_is_restored() -> None:
    topic = moving().says("b", backup(0, "restoring"), backup(1)).passes(TIMEOUT, "a", "b")
    assert not topic.claims("b")
    assert topic.says("b", backup(0), backup(1)).claims("b") == {1}


def test_moves_come_one_at_a_time() -> None:
    topic = Topic(slots=4).says("a", claims=dict.fromkeys(range(4), 1))
    topic.says("a", *map(primary, range(4)), claims=dict.fromkeys(range(4), 1))
    topic.says("b", *map(backup, range(4))).passes(TIMEOUT, "a", "b")
    assert topic.claims("b") == {2}
    topic.says("b", *map(backup, range(4)), claims={2: 2})
    assert not topic.claims("b")
    topic.says("b", backup(0), backup(1), primary(2, "restoring"), backup(3), claims={2: 2})
    assert not topic.claims("b")
    topic.says("b", backup(0), backup(1), primary(2), backup(3), claims={2: 2})
    assert topic.claims("b") == {3}


def test_all_slots_of_who_leaves_move_at_once_to_those_who_are_ready() -> None:
    topic = Topic(slots=4).says("a", claims=dict.fromkeys(range(4), 1)).says("c")
    topic.says("b", backup(0), backup(1), backup(2, "restoring"))
    working = [primary(0), primary(1), primary(2), primary(3)]
    topic.says("a", *working, claims=dict.fromkeys(range(4), 1), leaving=True)
    assert topic.claims("b") == {0, 1}
    assert topic.claims("c") == set()
    assert topic.decide("b").workers[2] == "backup"


def test_a_stuck_slot_of_who_leaves_moves_too() -> None:
    topic = moving("stuck").says("b", backup(0), backup(1))
    working = [primary(0, "restoring"), primary(1, "stuck")]
    topic.says("a", *working, claims={0: 1, 1: 1}, leaving=True)
    assert topic.claims("b") == {1}


def test_why_a_slot_without_holder_is_claimed() -> None:
    assert reason(Topic().says("a").view, 0) == "start"
