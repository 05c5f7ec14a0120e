from processor.cluster.beats import Beat
from processor.cluster.placement import quotas
from tests.cluster.topic import TIMEOUT, Topic, backup, primary


def holding(topic: Topic, node: str, *slots: int, zone: str = "", weight: float = 1.0) -> Topic:
    """The node claims the slots and works on them."""
    claims = dict.fromkeys(slots, 1)
    topic.says(node, claims=claims, zone=zone, weight=weight)
    replicas = [primary(slot) for slot in slots]
    return topic.says(node, *replicas, claims=claims, zone=zone, weight=weight)


def shares(slots: int, *weights: float, held: dict[str, int] | None = None) -> list[int]:
    nodes = "abcdefgh"
    beats = [
        Beat(node, "1", slots, weight=weight) for node, weight in zip(nodes, weights, strict=False)
    ]
    return list(quotas(beats, slots, held or {}).values())


def test_equal_weights_get_equal_shares() -> None:
    assert shares(6, 1.0, 1.0, 1.0) == [2, 2, 2]


def test_what_is_left_over_goes_to_the_first() -> None:
    assert shares(5, 1.0, 1.0, 1.0) == [2, 2, 1]


def test_what_is_left_over_stays_where_it_is() -> None:
    assert shares(5, 1.0, 1.0, 1.0, held={"b": 2, "c": 2, "a": 1}) == [1, 2, 2]


def test_shares_follow_weights() -> None:
    assert shares(8, 1.0, 3.0) == [2, 6]
    assert shares(7, 1.0, 2.0, 0.5) == [2, 4, 1]


def test_without_weight_no_share_unless_nobody_has_any() -> None:
    assert shares(4, 1.0, 0.0) == [4, 0]
    assert shares(4, 0.0, 0.0) == [2, 2]


def test_nobody_there() -> None:
    assert Topic().view.live() == []
    assert not Topic().decide("a").claims


def test_fresh_slots_are_spread() -> None:
    topic = Topic(slots=4).says("a").says("b")
    assert sorted(topic.primaries()) == ["a", "a", "b", "b"]


def test_holders_keep_what_they_have() -> None:
    topic = holding(holding(Topic(slots=4), "b", 0, 1), "a", 2, 3)
    assert topic.primaries() == ["b", "b", "a", "a"]


def test_the_slots_that_were_claimed_last_go_to_a_newcomer() -> None:
    topic = holding(Topic(slots=4), "a", 3, 1, 0, 2).says("b")
    assert topic.primaries() == ["b", "a", "b", "a"]


def test_of_slots_that_were_claimed_together_the_highest_go_to_a_newcomer() -> None:
    topic = holding(Topic(slots=4), "a", 0, 1, 2, 3).says("b")
    assert topic.primaries() == ["a", "a", "b", "b"]


def test_a_heavier_node_gets_more() -> None:
    topic = holding(Topic(slots=4), "a", 0, 1, 2, 3).says("b", weight=3.0)
    assert topic.primaries() == ["a", "b", "b", "b"]


def test_an_orphan_goes_to_its_ready_replica_beyond_the_quota() -> None:
    topic = holding(Topic(slots=2), "a", 0).says("c")
    topic.says("b", claims={1: 1}).says("b", primary(1), backup(0), claims={1: 1})
    topic.passes(TIMEOUT, "b", "c")
    assert topic.primaries() == ["b", "b"]


def test_the_replica_that_lags_least_is_the_best() -> None:
    topic = holding(Topic(), "a").says("b", backup(lag=90)).says("c", backup(lag=7))
    assert topic.says("d", backup(lag=None)).primaries() == ["c"]


def test_of_equal_replicas_the_node_with_fewer_slots_is_the_best() -> None:
    topic = Topic(slots=2).says("b", claims={1: 1}).says("b", primary(1), backup(), claims={1: 1})
    assert topic.says("c", backup()).primaries()[0] == "c"


def test_an_orphan_without_ready_replica_goes_where_one_is_being_restored() -> None:
    topic = Topic(slots=2).says("a").says("b", backup(0, state="restoring"))
    assert topic.primaries() == ["b", "a"]


def test_a_crashed_replica_is_worth_nothing() -> None:
    assert Topic().says("a").says("b", backup(state="crashed")).primaries() == ["a"]


def test_a_node_that_was_started_again_gets_its_slot_back() -> None:
    topic = holding(holding(Topic(slots=3), "b", 0, 2), "a", 1).says("b", boot="2")
    assert topic.primaries() == ["b", "a", "b"]
    assert holding(Topic(), "b", 0).says("a").says("b", boot="2").primaries() == ["b"]


def test_slots_of_who_leaves_belong_to_others() -> None:
    topic = holding(Topic(), "a", 0).says("b")
    assert topic.says("a", primary(), claims={0: 1}, leaving=True).primaries() == ["b"]


def test_replicas_are_on_other_nodes() -> None:
    topic = holding(Topic(backups=2), "a", 0).says("b").says("c").says("d")
    assert topic.place().replicas == ("b", "c")


def test_no_more_replicas_than_there_are_other_nodes() -> None:
    assert holding(Topic(backups=3), "a", 0).says("b").place().replicas == ("b",)


def test_without_backups_no_replicas() -> None:
    assert holding(Topic(backups=0), "a", 0).says("b").place().replicas == ()


def test_new_replicas_go_where_the_fewest_workers_are() -> None:
    topic = holding(holding(Topic(slots=3), "a", 0, 2), "b", 1).says("c", weight=0.0)
    assert topic.place(0).replicas == ("c",)


def test_a_replica_stays_where_it_is() -> None:
    topic = holding(Topic(), "a", 0).says("b").says("c", backup())
    assert topic.place().replicas == ("c",)


def test_a_crashed_replica_is_started_again_where_it_is() -> None:
    topic = holding(Topic(), "a", 0).says("b").says("c", backup(state="crashed"))
    assert topic.place().replicas == ("c",)


def test_a_replica_is_in_another_zone_than_the_primary() -> None:
    topic = holding(Topic(), "a", 0, zone="x").says("b", zone="x").says("c", zone="y")
    assert topic.place().replicas == ("c",)


def test_a_replica_in_the_same_zone_stays_until_the_other_is_ready() -> None:
    topic = holding(Topic(), "a", 0, zone="x").says("b", backup(), zone="x").says("c", zone="y")
    assert topic.place().replicas == ("c", "b")
    topic.says("c", backup(state="restoring"), zone="y")
    assert topic.place().replicas == ("c", "b")
    assert topic.says("c", backup(), zone="y").place().replicas == ("c",)


def test_with_one_zone_only_replicas_are_in_it() -> None:
    topic = holding(Topic(), "a", 0, zone="x").says("b", zone="x")
    assert topic.place().replicas == ("b",)


def test_the_replica_stays_while_a_newcomer_warms_up() -> None:
    topic = holding(Topic(slots=2), "a", 0, 1).says("b", backup(0), backup(1), weight=0.0)
    topic.says("c")
    assert topic.place(1).primary == "c"
    assert topic.place(1).replicas[0] == "b"


def test_who_gives_a_slot_away_keeps_it_as_replica() -> None:
    topic = holding(Topic(slots=2), "a", 0, 1).says("b", backup(0), backup(1))
    assert topic.primaries() == ["a", "b"]
    assert topic.place(1).replicas == ("a",)


def test_of_too_many_replicas_those_that_are_ready_stay() -> None:
    topic = holding(Topic(), "a", 0).says("b", backup(state="restoring")).says("c", backup())
    assert topic.place().replicas == ("c",)
