"""What somebody who listens sees of nodes and slots; each test writes the slots topic by hand."""

import pytest

from processor.cluster.beats import Adoption, Beat, Claim, Replica, ReplicaState
from processor.cluster.overview import Observer, Overview, SlotOverview, Worker
from processor.records import Timestamp

NOON = 1_700_000_000_000
A = Beat("a", "1", 1, "alpha", "east", claims=(Claim(0, 1),))
B = Beat("b", "1", 1, "beta")


class Listener:
    """An observer, and the beats that come to it."""

    def __init__(self) -> None:
        self.now = NOON
        self._observer = Observer("orders", 1000)

    def hears(self, *beats: Beat, after: int = 0) -> "Listener":
        self.now += after
        for beat in beats:
            self._observer.hear(beat, Timestamp(self.now))
        return self

    def hears_for(self, time: int, *beats: Beat) -> "Listener":
        for _ in range(time // 100):
            self.hears(*beats, after=100)
        return self

    def sees(self, quiet: float = 0.0, now: int | None = None) -> Overview:
        return self._observer.overview(quiet, None if now is None else Timestamp(now))

    def slot(self, number: int = 0) -> SlotOverview:
        return self.sees().slots[number]


@pytest.fixture
def listener() -> Listener:
    return Listener()


def changed(beat: Beat, *replicas: Replica, **changes: object) -> Beat:
    fields = {name: getattr(beat, name) for name in beat.__struct_fields__}
    return Beat(**{**fields, "replicas": replicas, **changes})


def primary(state: ReplicaState = "running", slot: int = 0) -> Replica:
    return Replica(slot, "primary", state)


def backup(state: ReplicaState = "ready", lag: int | None = 0, slot: int = 0) -> Replica:
    return Replica(slot, "backup", state, lag=lag)


def states(overview: Overview) -> dict[str, str]:
    return {node.name: node.state for node in overview.nodes}


def test_before_the_first_beat(listener: Listener) -> None:
    assert listener.sees() == Overview(
        "orders", healthy=False, slots=(), nodes=(), last_heartbeat=None
    )


def test_a_primary_with_a_backup(listener: Listener) -> None:
    at_work = Replica(0, "primary", "running", lag=12, rate=345.6, busy=0.78)
    listener.hears(changed(A, at_work), changed(B, backup(lag=3)))
    overview = listener.sees()
    assert overview.healthy
    assert overview.slots == (
        SlotOverview(
            0,
            live=True,
            primary=Worker("a", "alpha", "running", lag=12, rate=345.6, busy=0.78),
            backups=(Worker("b", "beta", "ready", lag=3),),
            adoption=None,
        ),
    )
    alpha, beta = overview.nodes
    assert (alpha.name, alpha.zone, alpha.state) == ("alpha", "east", "live")
    assert (alpha.primaries, alpha.backups) == ((0,), ())
    assert (beta.primaries, beta.backups) == ((), (0,))


@pytest.mark.parametrize("state", ["starting", "restoring", "running", "stopping"])
def test_a_primary_lives(state: ReplicaState, listener: Listener) -> None:
    listener.hears(changed(A, primary(state)))
    slot = listener.slot()
    assert (slot.live, slot.primary and slot.primary.state) == (True, state)
    assert listener.sees().healthy
    assert listener.sees().unattended == []


def test_what_a_stuck_worker_is_at(listener: Listener) -> None:
    stuck = Replica(0, "primary", "stuck", turn_age=91.5, stuck="slow (a.py, line 5)")
    listener.hears(changed(A, stuck))
    (slot,) = listener.sees().slots
    assert slot.primary is not None
    assert (slot.primary.lag, slot.primary.turn_age) == (None, 91.5)
    assert slot.primary.stuck == "slow (a.py, line 5)"


@pytest.mark.parametrize("state", ["silent", "crashed", "stuck"])
def test_a_primary_does_not_live(state: ReplicaState, listener: Listener) -> None:
    listener.hears(changed(A, primary(state)))
    slot = listener.slot()
    assert (slot.live, slot.primary and slot.primary.state) == (False, state)
    assert not listener.sees().healthy
    assert listener.sees().unattended == [0]


def test_a_claim_comes_before_the_work(listener: Listener) -> None:
    listener.hears(changed(A, backup()))
    assert listener.slot().primary == Worker("a", "alpha", "adopting", lag=0)
    assert listener.sees().healthy


def test_a_worker_that_is_there_no_more(listener: Listener) -> None:
    at_work = changed(A, primary())
    listener.hears(at_work, at_work, A)
    slot = listener.slot()
    assert (slot.live, slot.primary and slot.primary.state) == (False, "gone")


def test_a_slot_that_nobody_has_claimed(listener: Listener) -> None:
    listener.hears(changed(B, backup()))
    slot = listener.slot()
    assert (slot.live, slot.primary, slot.adoption) == (False, None, None)
    assert [worker.name for worker in slot.backups] == ["beta"]


def test_a_silent_node_is_dead_by_the_beats_of_others(listener: Listener) -> None:
    listener.hears(changed(A, primary())).hears_for(900, changed(B, backup()))
    assert states(listener.sees()) == {"alpha": "live", "beta": "live"}
    listener.hears_for(100, changed(B, backup()))
    overview = listener.sees()
    assert states(overview) == {"alpha": "dead", "beta": "live"}
    assert [node.heartbeat_age for node in overview.nodes] == [1.0, 0.0]
    slot = listener.slot()
    assert (slot.live, slot.primary and slot.primary.state) == (False, "dead")
    assert [worker.name for worker in slot.backups] == ["beta"]


def test_if_nobody_beats_nobody_lives(listener: Listener) -> None:
    listener.hears(changed(A, primary()), changed(B, backup()))
    assert listener.sees(quiet=0.9).healthy
    overview = listener.sees(quiet=1.0)
    assert states(overview) == {"alpha": "dead", "beta": "dead"}
    assert not overview.healthy
    assert overview.slots[0].backups == ()
    assert overview.last_heartbeat == NOON


def test_what_is_known_of_an_application_that_ended_long_ago_is_as_old_as_it_is(
    listener: Listener,
) -> None:
    adoption = Adoption(0, 1, "start", "", 0.25, 0.5, 0.125, at=NOON)
    listener.hears(changed(A, primary(), adoptions=(adoption,)), after=5000)
    hour = 3_600_000
    overview = listener.sees(quiet=2.0, now=listener.now + hour)
    assert [node.heartbeat_age for node in overview.nodes] == [3600.0]
    takeover = overview.slots[0].adoption
    assert takeover is not None
    assert takeover.ago == 3605.0
    later = listener.sees(quiet=4.0, now=listener.now + hour + 2000)
    assert [node.heartbeat_age for node in later.nodes] == [3602.0]


def test_a_clock_that_is_set_ages_nobody_who_lives_and_makes_nobody_younger(
    listener: Listener,
) -> None:
    listener.hears(changed(A, primary()))
    alive = listener.sees(quiet=0.5, now=listener.now + 10_000)
    assert alive.healthy
    assert [node.heartbeat_age for node in alive.nodes] == [0.5]
    behind = listener.sees(quiet=3.0, now=listener.now - 10_000)
    assert [node.heartbeat_age for node in behind.nodes] == [3.0]


def test_who_leaves_is_not_dead(listener: Listener) -> None:
    leaving = changed(A, primary("stopping"), leaving=True)
    listener.hears(leaving, B)
    assert states(listener.sees()) == {"alpha": "leaving", "beta": "live"}
    assert listener.slot().live
    listener.hears(changed(leaving, claims=())).hears_for(1000, B)
    assert states(listener.sees()) == {"alpha": "left", "beta": "live"}
    assert not listener.slot().live


def test_a_later_claim_wins_and_the_loser_is_a_backup(listener: Listener) -> None:
    adopter = changed(B, primary(), claims=(Claim(0, 2),))
    listener.hears(changed(A, primary()), adopter)
    assert listener.slot().primary == Worker("b", "beta", "running")
    listener.hears(changed(A, backup("restoring", 5), claims=()))
    assert listener.slot().backups == (Worker("a", "alpha", "restoring", lag=5),)


def test_the_last_adoption_and_how_long_ago_it_was(listener: Listener) -> None:
    adoption = Adoption(0, 1, "failure", "gamma", 0.25, 0.5, 0.125, at=NOON)
    listener.hears(changed(A, primary(), adoptions=(adoption,)), after=90_000)
    takeover = listener.slot().adoption
    assert takeover is not None
    assert (takeover.reason, takeover.predecessor) == ("failure", "gamma")
    assert (takeover.ago, takeover.took) == (90, 0.75)
    unknown = Adoption(0, 1, "start", "", 0.25, 0.5, 0.125)
    listener.hears(changed(A, primary(), adoptions=(unknown,)))
    takeover = listener.slot().adoption
    assert takeover is not None
    assert takeover.ago is None


def test_an_adoption_of_an_earlier_holder_is_not_shown(listener: Listener) -> None:
    adoption = Adoption(0, 1, "start", "", 0.25, 0.5, 0.125)
    listener.hears(changed(A, primary(), adoptions=(adoption,)))
    listener.hears(changed(B, primary("starting"), claims=(Claim(0, 2),)))
    assert listener.slot().adoption is None


def test_backups_are_in_the_order_of_their_nodes(listener: Listener) -> None:
    others = [Beat(name, "1", 1, name, replicas=(backup(),)) for name in ("delta", "beta", "eta")]
    listener.hears(changed(A, primary()), *others)
    assert [worker.name for worker in listener.slot().backups] == ["beta", "delta", "eta"]


def test_an_application_that_was_started_again_with_other_slots(listener: Listener) -> None:
    two = changed(A, primary(), boot="2", slots=2)
    listener.hears(changed(A, primary())).hears_for(900, two)
    assert len(listener.sees().slots) == 1
    listener.hears_for(300, two)
    overview = listener.sees()
    assert len(overview.slots) == 2
    assert overview.unattended == [1]


def test_a_node_without_a_name_goes_by_its_id(listener: Listener) -> None:
    listener.hears(changed(A, primary(), name=""))
    assert [node.name for node in listener.sees().nodes] == ["a"]
