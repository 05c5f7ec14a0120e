"""Every measurement is in a minute or late, and what is late is in an hour."""

from collections import Counter

from processor.testing import TopologyDriver
from topologies.late_data import BEGIN, SECONDS, SENSORS, Measurement, measurements, topology

MINUTE, HOUR = 60_000, 3_600_000


def test_in_time_and_late() -> None:
    driver = TopologyDriver(topology)
    for second, degrees in ((10, 20.0), (85, 1.0), (30, 22.0), (95, 1.0), (40, 99.0)):
        value = Measurement("a", degrees, BEGIN + second * 1000)
        driver.pipe("measurements", key="a", value=value)
    (minute,) = driver.read("minutes")
    assert minute[1] == {"measurements": 2, "mean": 21.0, "highest": 22.0}
    assert minute[0] == ("a", BEGIN, BEGIN + MINUTE)
    assert [value.degrees for _, value in driver.read("late-measurements")] == [99.0]
    (missed,) = driver.read("missed-by-the-hour")
    assert missed[0] == ("a", BEGIN, BEGIN + HOUR)
    assert missed[1] == {"measurements": 1, "mean": 99.0, "highest": 99.0}
    assert not driver.dead_letters()


def test_all_measurements_are_somewhere() -> None:
    driver = TopologyDriver(topology, partitions=3)
    arrived = list(measurements())
    for begin in range(0, len(arrived), 1000):
        driver.pipe("measurements", *arrived[begin : begin + 1000])
    driver.idle()
    in_time: Counter[str] = Counter()
    for window, minute in driver.read("minutes"):
        in_time[window.key] += minute["measurements"]
    late = Counter(value.sensor for _, value in driver.read("late-measurements"))
    assert in_time + late == Counter(dict.fromkeys(late | in_time, SECONDS))
    assert len(in_time) == SENSORS
    missed = {
        window.key: value["measurements"] for window, value in driver.read("missed-by-the-hour")
    }
    assert missed == late
    assert 100 < late.total() < SENSORS * SECONDS / 4
