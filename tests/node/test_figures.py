from processor.cluster.beats import Replica
from processor.node.figures import Figures
from processor.worker.channel import RestoreStatus, Spent, Status
from processor.worker.standstill import Standstill


def test_before_the_first_status() -> None:
    assert Figures().replica(1, "backup", "starting", None) == Replica(1, "backup", "starting")


def test_rates_of_what_grows() -> None:
    figures = Figures()
    figures.note(10.0, Status(0, "running"))
    status = Status(
        0,
        "running",
        records=500,
        spent=Spent(busy=0.8, cpu=0.5, starved=0.2),
        state_bytes=77,
        lag=3,
    )
    figures.note(11.0, status)
    assert figures.replica(0, "primary", "running", status) == Replica(
        0, "primary", "running", lag=3, rate=500.0, busy=0.8, cpu=0.5, starved=0.2, bytes=77
    )


def test_of_who_is_silent_the_lag_is_not_known() -> None:
    status = Status(0, "running", lag=0, turn_age=0.4)
    replica = Figures().replica(0, "primary", "silent", status, silence=12.0)
    assert (replica.lag, replica.turn_age) == (None, 12.4)


def test_what_a_stuck_worker_is_at() -> None:
    status = Status(0, "stuck", turn_age=61.0, stuck=Standstill("slow", "slow", in_function=True))
    replica = Figures().replica(0, "primary", "stuck", status)
    assert (replica.turn_age, replica.stuck) == (61.0, "slow")


def test_the_speed_of_the_last_restore_is_kept() -> None:
    figures = Figures()
    figures.note(10.0, Status(0, "restoring", restore=RestoreStatus(1, 10, 100, 5000, 2.0)))
    done = Status(0, "running")
    figures.note(11.0, done)
    assert figures.replica(0, "primary", "running", done).restored == 2500
    figures.note(12.0, Status(0, "restoring", restore=RestoreStatus(1, 10, 100, 5000, 0.1)))
    assert figures.replica(0, "primary", "running", done).restored == 2500
