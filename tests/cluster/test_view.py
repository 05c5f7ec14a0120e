import pytest

from processor.cluster.beats import ReplicaState
from processor.cluster.view import View
from processor.records import Timestamp
from tests.cluster.topic import TIMEOUT, Topic, backup, primary


def working() -> Topic:
    """A works on slot 0 by term 1; B and C live."""
    topic = Topic().says("a", claims={0: 1}).says("b").says("c")
    return topic.says("a", primary(), claims={0: 1}, after=100)


def test_a_slot_that_nobody_claimed_is_an_orphan() -> None:
    topic = Topic().says("a")
    assert topic.view.loss(0) == "start"
    assert topic.view.term(0) == 0


def test_a_claim_makes_a_holder() -> None:
    holder = Topic().says("a", claims={0: 1}).view.holders[0]
    assert (holder.node, holder.boot, holder.term) == ("a", "1", 1)


def test_of_two_claims_of_one_term_the_first_counts() -> None:
    topic = Topic().says("a").says("b").says("b", claims={0: 1}).says("a", claims={0: 1})
    assert topic.view.holders[0].node == "b"


def test_a_stale_claim_is_void() -> None:
    topic = Topic().says("a", claims={0: 3}).says("b", claims={0: 2})
    assert topic.view.holders[0].node == "a"


def test_a_later_term_wins() -> None:
    topic = working().says("b", claims={0: 2})
    assert (topic.view.holders[0].node, topic.view.term(0)) == ("b", 2)


def test_a_claim_that_stands_in_each_beat_is_made_once() -> None:
    topic = working()
    since = topic.view.holders[0].since
    assert topic.passes(500, "a").view.holders[0].since == since


def test_who_lost_a_slot_does_not_get_it_back_by_its_old_beat() -> None:
    topic = working().says("b", claims={0: 2}).passes(100, "a")
    assert topic.view.holders[0].node == "b"


def test_a_node_is_dead_after_the_timeout_and_not_before() -> None:
    topic = working().passes(TIMEOUT - 100, "b")
    assert not topic.view.is_orphaned(0)
    assert topic.passes(100, "b").view.loss(0) == "failure"
    assert topic.view.members["a"].state == "dead"


def test_a_beat_brings_the_dead_back() -> None:
    topic = working().passes(TIMEOUT, "b").says("a", primary(), claims={0: 1})
    assert topic.view.members["a"].state == "live"
    assert not topic.view.is_orphaned(0)


def test_the_dead_are_forgotten_after_a_minute_and_their_terms_are_not() -> None:
    topic = working().passes(61_000, "b")
    assert set(topic.view.members) == {"b"}
    assert (topic.view.loss(0), topic.view.term(0)) == ("failure", 1)


def test_a_node_alone_makes_itself_never_dead() -> None:
    topic = Topic().says("a", claims={0: 1}).says("a", primary(), claims={0: 1}, after=50_000)
    assert not topic.view.is_orphaned(0)


def test_a_broker_that_was_away_for_an_hour_makes_nobody_dead() -> None:
    topic = working()
    topic.says("b", after=3_600_000).says("c", after=5)
    assert {member.state for member in topic.view.members.values()} == {"live"}


def test_a_broker_s_clock_that_jumps_ahead_costs_a_fifth_of_the_timeout() -> None:
    topic = working()
    before = topic.view.time
    topic.says("b", after=86_400_000)
    assert topic.view.time - before == TIMEOUT // 5


def test_time_goes_on_after_the_broker_s_clock_went_back() -> None:
    topic = working()
    before = topic.view.time
    topic.says("b", after=-86_400_000).says("b", after=70)
    assert topic.view.time - before == 70


def test_a_reader_that_was_suspended_sees_what_all_see() -> None:
    topic, late = Topic(), View(1, TIMEOUT)
    topic.says("a", primary(), claims={0: 1}).says("b")
    beats = [(topic.said[name], topic.now) for name in ("a", "b")]
    for beat, timestamp in beats:
        late.apply(beat, Timestamp(timestamp))
    for _ in range(50):
        topic.passes(100, "a", "b")
        beats.append((topic.said["a"], topic.now))
        beats.append((topic.said["b"], topic.now))
    for beat, timestamp in beats[2:]:
        late.apply(beat, Timestamp(timestamp))
    assert late.members == topic.view.members
    assert late.holders == topic.view.holders
    assert late.time == topic.view.time


def test_who_began_to_read_between_two_claims_of_one_term_finds_out_who_won() -> None:
    late = Topic().says("b", claims={0: 1}).says("b").says("a", primary(), claims={0: 1})
    assert late.view.holders[0].node == "a"


def test_a_claim_is_no_loss_while_the_worker_is_being_started() -> None:
    topic = Topic().says("a", claims={0: 1})
    assert not topic.passes(TIMEOUT - 100, "a").view.is_orphaned(0)


def test_a_node_that_starts_no_worker_in_time_has_lost_its_slot() -> None:
    assert Topic().says("a", claims={0: 1}).passes(TIMEOUT, "a").view.loss(0) == "crash"


@pytest.mark.parametrize(
    "state", ["starting", "restoring", "running", "stopping", "silent", "stuck"]
)
def test_a_worker_in_any_other_state_is_at_work(state: ReplicaState) -> None:
    assert not working().says("a", primary(state=state), claims={0: 1}).view.is_orphaned(0)


def test_a_crashed_worker_is_a_loss() -> None:
    topic = working().says("a", primary(state="crashed"), claims={0: 1})
    assert topic.view.loss(0) == "crash"


def test_a_crashed_worker_is_a_loss_also_when_another_was_started_as_a_backup() -> None:
    topic = working().says("a", primary(state="crashed"), claims={0: 1})
    topic.says("a", backup(state="starting"), claims={0: 1})
    assert topic.view.loss(0) == "crash"
    topic.says("a", backup(state="starting"), claims={0: 2})
    assert topic.view.loss(0) is None


def test_a_worker_that_is_no_more_is_a_loss() -> None:
    assert working().says("a", claims={0: 1}).view.loss(0) == "crash"


def test_a_crash_during_adoption_is_a_loss_at_once() -> None:
    topic = working().says("b", backup(), claims={0: 2})
    topic.says("b", primary(state="restoring"), claims={0: 2})
    topic.says("b", primary(state="crashed"), claims={0: 2})
    assert topic.view.loss(0) == "crash"


def test_the_crash_that_led_to_a_claim_is_none_of_the_new_term() -> None:
    topic = working().says("a", primary(state="crashed"), claims={0: 1})
    topic.says("a", primary(state="crashed"), claims={0: 2})
    assert not topic.view.is_orphaned(0)
    assert not topic.passes(100, "a").view.is_orphaned(0)


def test_a_silent_worker_is_a_loss_while_another_node_is_ready() -> None:
    topic = working().says("a", primary(state="silent"), claims={0: 1})
    assert not topic.says("b", backup(state="restoring")).view.is_orphaned(0)
    assert topic.says("b", backup()).view.loss(0) == "failure"


def test_who_leaves_keeps_its_slot_until_its_worker_has_finished() -> None:
    topic = working().says("a", primary(), claims={0: 1}, leaving=True)
    assert not topic.view.is_orphaned(0)
    assert topic.says("a", claims={0: 1}, leaving=True).view.loss(0) == "leave"


def test_who_leaves_lives_but_counts_no_more() -> None:
    topic = working().says("a", primary(), claims={0: 1}, leaving=True)
    assert topic.view.members["a"].state == "leaving"
    assert [beat.node for beat in topic.view.live()] == ["b", "c"]


def test_a_node_that_was_started_again_has_lost_its_slots() -> None:
    topic = working().passes(TIMEOUT, "b", "c").says("a", boot="2")
    assert topic.view.loss(0) == "start"


def test_a_second_process_with_the_id_of_a_node_that_lives_is_nobody() -> None:
    """As with a copied state folder: who was first goes on."""
    topic = working().says("a", boot="2", claims={0: 2}).says("a", primary(), claims={0: 1})
    assert (topic.view.holders[0].boot, topic.view.term(0)) == ("1", 1)
    assert topic.view.members["a"].beat.boot == "1"
    assert topic.view.loss(0) is None
    # Once the first is dead, the other has it; and the first, if it wakes up, is nobody.
    topic.passes(TIMEOUT, "b", "c").says("a", boot="2").says("a", primary(), claims={0: 1})
    assert topic.view.members["a"].beat.boot == "2"
    assert topic.view.is_replaced("a", "1")


def test_who_has_left_makes_room_for_its_next_start() -> None:
    topic = working().says("a", leaving=True).says("a", boot="2")
    assert topic.view.members["a"].beat.boot == "2"


def test_nodes_that_were_retired_are_nobody() -> None:
    topic = working()
    topic.view.epoch = 1
    topic.says("d")
    assert "d" not in topic.view.members
    assert topic.view.successor is None
    topic.view.epoch = -1
    assert topic.says("d").view.successor == "d.host"


def test_a_former_start_of_a_node_says_nothing_any_more() -> None:
    topic = working().passes(TIMEOUT, "b", "c")
    topic.says("a", boot="2", claims={0: 2}).says("a", claims={0: 3})
    assert (topic.view.holders[0].boot, topic.view.term(0)) == ("2", 2)
    assert topic.view.is_replaced("a", "1")
    assert not topic.view.is_replaced("a", "2")


def test_a_change_of_members_is_noted() -> None:
    topic = working().passes(500, "a", "b", "c")
    assert topic.view.changed < topic.view.time
    topic.says("c", leaving=True).says("c", boot="2", after=100)
    assert topic.view.changed == topic.view.time
    topic.passes(500, "a", "b", "c").says("c", boot="2", leaving=True)
    assert topic.view.changed == topic.view.time


def test_a_claim_changes_no_members() -> None:
    topic = working()
    before = topic.view.changed
    assert topic.says("b", claims={0: 2}, after=100).view.changed == before


def test_the_error_of_another_number_of_slots_says_so() -> None:
    newcomer = Topic(slots=8).says("a", primary(), slots=4).says("n")
    assert newcomer.view.is_contested
    assert newcomer.view.other_slots is None  # a may have been killed long ago
    assert newcomer.passes(100, "a").view.other_slots == (4, "a.host")


def test_who_is_there_does_not_mind_a_newcomer_with_another_number_of_slots() -> None:
    topic = working().says("n", slots=8, claims={0: 9}).passes(200, "n")
    assert topic.view.other_slots is None
    assert not topic.view.is_contested
    assert topic.view.holders[0].node == "a"
    assert "n" not in topic.view.members


def test_another_number_of_slots_of_the_dead_is_forgotten() -> None:
    topic = Topic(slots=8).says("a", primary(), slots=4).says("n").passes(TIMEOUT, "n")
    assert not topic.view.is_contested


def test_another_number_of_slots_of_those_who_left_does_not_matter() -> None:
    topic = Topic(slots=8).says("a", primary(), slots=4).says("a", slots=4, leaving=True)
    assert not topic.says("n").view.is_contested


def test_a_node_that_was_started_again_with_another_number_of_slots_is_no_rival_of_itself() -> None:
    assert not Topic(slots=8).says("a", primary(), slots=4).says("a", boot="2").view.is_contested
