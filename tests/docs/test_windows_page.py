"""The examples of docs/guides/windows.md do what the page says."""

from typing import Any

from processor import Windowed
from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/guides/windows.md"
HOUR = 3_600_000


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    exec("\n".join(block.text for block in blocks(PAGE, "python")), found)
    driver = TopologyDriver(found["topology"])

    def pipe(user: str, amount: int, time: int, factor: int = 1) -> None:
        order = found["Order"](user=user, amount=amount, factor=factor)
        driver.pipe("orders", key=None, value=order, timestamp=time)

    pipe("ann", 200, 1000, 3)
    pipe("ann", 500, 2000, 5)
    pipe("ben", 100, 11_000)
    pipe("ann", 300, 9000)  # too late for the windows of ten seconds, and for no other
    pipe("ben", 100, 24 * HOUR)
    ann, ben = (Windowed(user, 0, HOUR) for user in ("ann", "ben"))
    assert driver.read("order-totals") == [
        (Windowed("ann", 0, 10_000), {"orders": 2, "mean": 350.0}),
        (Windowed("ben", 10_000, 20_000), {"orders": 1, "mean": 100.0}),
    ]
    assert [order.amount for _, order in driver.read("late-orders")] == [300]
    so_far, final = driver.read("sales-so-far"), driver.read("sales")
    assert so_far == [(ann, {"total": 700}), *final]
    assert final == [(ann, {"total": 1000}), (ben, {"total": 100})]
    assert driver.read("busy-hours") == [(ann, 3)]
    assert driver.read("hours-by-kind") == [("more", 1), ("one", 1)]
    assert driver.read("factors") == [
        (Windowed("ann", 0, 24 * HOUR), {"factor": 15}),
        (Windowed("ben", 0, 24 * HOUR), {"factor": 1}),
    ]
    assert driver.bad_records == {}
