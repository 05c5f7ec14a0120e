"""Records that come too late: measurements of sensors, some of which lose their connection.

    kproc run topologies/late_data.py --dev --until-end

A sensor measures once a second and sends what it has measured; one that was without a connection
sends all of it at once, later. What is up to 30 seconds late is part of its minute. What is later
goes to a topic of its own, and into sums by the hour, which wait for longer. The data is made from
a seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from processor import Record, Timestamp, Topology, count, max_of, mean_of, tumbling

SENSORS, SECONDS = 8, 3600
LOSS, OUTAGE = 0.005, 30  # probability in a second, mean seconds
BEGIN = 1_700_000_000_000 // 3_600_000 * 3_600_000


@dataclass(frozen=True)
class Measurement:
    """What a sensor has measured: degrees, at a time in milliseconds since 1970."""

    sensor: str
    degrees: float
    measured: int


@dataclass(frozen=True)
class Minute:
    """A sensor's minute."""

    measurements: int
    mean: float
    highest: float


def measurements() -> Iterator[Record[str, Measurement]]:
    """In the order in which they arrive; a record's own timestamp is that of its arrival."""
    random = Random(1)  # noqa: S311 - the same ones each time
    sent: list[tuple[int, Measurement]] = []
    for number in range(SENSORS):
        connected = 0  # the second from which on it is
        for second in range(SECONDS):
            if second >= connected and random.random() < LOSS:
                connected = second + round(random.expovariate(1 / OUTAGE))
            time = BEGIN + 1000 * second
            degrees = round(20 + random.gauss(0, 2), 1)
            arrival = BEGIN + 1000 * max(second, connected)
            sent.append((arrival, Measurement(f"sensor-{number}", degrees, time)))
    for arrival, measurement in sorted(sent, key=lambda pair: pair[0]):
        yield Record(measurement.sensor, measurement, Timestamp(arrival))


topology = Topology("late-data")
topology.sample_data("measurements", measurements, count=SENSORS * SECONDS, value=Measurement)

by_sensor = topology.stream("measurements", value=Measurement, timestamp="measured").group_by_key()
minutes = by_sensor.window(tumbling("1m", grace="30s")).agg(
    Minute,
    measurements=count(),
    mean=mean_of("degrees"),
    highest=max_of("degrees"),
    name="minutes",
)
minutes.to("minutes")
late = minutes.late()
late.to("late-measurements")
late.group_by_key().window(tumbling("1h", grace="1d"), emit="checkpoint").agg(
    Minute,
    measurements=count(),
    mean=mean_of("degrees"),
    highest=max_of("degrees"),
    name="missed",
).to("missed-by-the-hour")
