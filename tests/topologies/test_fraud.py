"""Alarms: the pattern, what is not it, and all of the sample data."""

from processor.testing import TopologyDriver
from topologies.fraud import Alarm, Payment, payments, topology

SECOND, MINUTE = 1000, 60_000


def driver_after(*paid: tuple[int, int], card: str = "a") -> TopologyDriver:
    """Times and amounts."""
    driver = TopologyDriver(topology)
    for time, amount in paid:
        driver.pipe("payments", key=card, value=Payment(card, amount, "shop"), timestamp=time)
    return driver


def alarms(driver: TopologyDriver) -> list[Alarm]:
    return [alarm for _, alarm in driver.read("alarms")]


def test_a_large_payment_after_three_small_ones() -> None:
    driver = driver_after((0, 50), (10, 60), (20, 70), (30, 70_000))
    assert alarms(driver) == [Alarm("a", 70_000, "shop", [0, 10, 20])]
    assert driver.store("tries") == {}


def test_other_payments_in_between_do_not_matter() -> None:
    driver = driver_after((0, 50), (10, 5000), (20, 60), (30, 70), (40, 400), (50, 70_000))
    assert len(alarms(driver)) == 1


def test_two_small_ones_or_too_long_ago() -> None:
    assert alarms(driver_after((0, 50), (10, 60), (30, 70_000))) == []
    assert alarms(driver_after((0, 50), (10, 60), (11 * MINUTE, 70), (12 * MINUTE, 70_000))) == []
    assert alarms(driver_after((0, 50), (10, 60), (20, 70), (61 * MINUTE, 70_000))) == []


def test_cards_do_not_mix() -> None:
    driver = driver_after((0, 50), (10, 60), (20, 70))
    driver.pipe("payments", key="b", value=Payment("b", 70_000, "shop"), timestamp=30)
    assert alarms(driver) == []


def test_what_no_alarm_can_follow_on_is_forgotten() -> None:
    driver = driver_after((0, 50), (10, 60))
    assert list(driver.store("tries")) == ["a"]
    driver.pipe("payments", key="b", value=Payment("b", 5000, "shop"), timestamp=90 * MINUTE)
    assert driver.store("tries") == {}


def test_the_thieves_in_the_sample_data() -> None:
    driver = TopologyDriver(topology, partitions=3)
    driver.pipe("payments", *payments())
    found = alarms(driver)
    assert {alarm.card for alarm in found} == {"card-000", "card-100"}
    assert not driver.bad_records
