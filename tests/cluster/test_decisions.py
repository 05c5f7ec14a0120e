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
