"""What the topologies of pages without a test of their own make of records."""

from typing import Any

from processor import Record, Timestamp
from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks


def names_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in blocks(ROOT / "docs" / page, "python"):
        if not (block.title or "").startswith("test_"):
            exec(block.text, found)
    return found


def test_calls_to_services() -> None:
    driver = TopologyDriver(names_of("guides/async.md")["topology"])
    driver.pipe("orders", key="1", value={"user": "ann"})
    assert driver.read("orders-with-countries") == [("1", {"user": "ann", "country": "DE"})]
    assert driver.read("countries") == [("1", "DE")]


def test_streams() -> None:
    names = names_of("guides/streams.md")
    driver, order = TopologyDriver(names["topology"]), names["Order"]
    driver.pipe("orders", key="1", value=order("ann", 2), timestamp=0)
    driver.pipe("orders", key="2", value=order("bob", 100, "FR"), timestamp=0)
    driver.pipe("orders", key="3", value=order("cho", -1, "FR"), timestamp=0)
    assert [key for key, _ in driver.read("valid-orders")] == ["1", "2"]
    assert driver.read("payments")[0] == ("1", {"user": "ann", "paid": 2})
    assert driver.read("tickets")[:3] == [("1", "ann"), ("1", "ann"), ("2", "bob")]
    assert driver.read("amounts") == [("ann", 2), ("bob", 100), ("cho", -1)]
    assert [key for key, _ in driver.read("orders-home")] == ["1"]
    assert [key for key, _ in driver.read("orders-abroad")] == ["2", "3"]
    assert len(driver.read("orders-1970-01-01")) == 3


def test_when_results_are_emitted() -> None:
    driver = TopologyDriver(names_of("guides/results.md")["topology"])
    minutes = (0, 1, 5, 12, 62)
    visits = [Record("v", {"page": "home"}, Timestamp(each * 60_000)) for each in minutes]
    driver.pipe("visits", *visits)
    counts = {
        name: [count for _, count in driver.read(name)]
        for name in ("each-change", "last-change", "held-back", "hours-so-far", "hours")
    }
    assert counts["each-change"] == [1, 2, 3, 4, 5]
    assert counts["last-change"][-1] == 5
    assert counts["held-back"] == [2, 3, 4]
    assert counts["hours-so-far"] == [3, 4]
    assert counts["hours"] == [4]


def test_values_run_their_validators_once() -> None:
    payment = names_of("concepts/values.md")["Payment"]
    assert payment.model_validate({"cents": 250}).cents == 2.5


def test_event_times() -> None:
    names = names_of("concepts/time.md")
    driver = TopologyDriver(names["topology"])
    driver.pipe_bytes("orders", value=b'{"user":"ann","created_at":"2026-01-01T00:00:00Z"}')
    driver.pipe_bytes("other-orders", value=b'{"user":"ann","created_at":"2026-01-01T00:00:00"}')
    assert {reason for _, reason in driver.bad_records} == {"timestamp"}


def test_from_kafka_streams() -> None:
    names = names_of("coming-from/kafka-streams.md")
    driver, order = TopologyDriver(names["topology"]), names["Order"]
    driver.pipe("orders", key="1", value=order("ann", 700), timestamp=0)
    driver.pipe("orders", key="2", value=order("ann", 5), timestamp=3_660_000)
    assert len(driver.read("big-orders")) == 1
    assert [count for _, count in driver.read("order-counts")] == [1]


def test_from_faust() -> None:
    driver = TopologyDriver(names_of("coming-from/faust.md")["topology"])
    for amount in (20, 2000):
        driver.pipe("withdrawals", value={"user": "ann", "country": "DE", "amount": amount})
    assert driver.store("country-to-total") == {"DE": 2020}
    assert len(driver.read("large-withdrawals")) == 1


def test_from_quix_streams() -> None:
    driver = TopologyDriver(names_of("coming-from/quix-streams.md")["topology"])
    for hour in (0, 1):
        at = f"2026-01-01T0{hour}:00:30Z"
        driver.pipe("readings", value={"sensor": "roof", "fahrenheit": 104, "at": at})
    assert [value["celsius"] for _, value in driver.read("hot")] == [40.0, 40.0]
    assert [value for _, value in driver.read("hourly")] == [{"mean": 40.0}]
