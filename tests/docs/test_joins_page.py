"""The example of docs/guides/joins.md does what the page says."""

from typing import Any

from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/guides/joins.md"


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    (block,) = blocks(PAGE, "python")
    exec(block.text, found)
    driver = TopologyDriver(found["topology"])
    driver.pipe("users", key="u", value={"name": "Ann"})
    driver.pipe("addresses", key="u", value="Rome")
    driver.pipe("baskets", key="b", value={"user": "u", "items": ["pen"]})
    driver.pipe("orders", key="u", value={"n": 1})
    driver.pipe("payments", key="u", value={"amount": 5}, timestamp=60_000)
    driver.pipe("orders", key="v", value={"n": 2}, timestamp=10**8)
    assert driver.read("checked") == [
        ("u", {"n": 1, "known": True}),
        ("v", {"n": 2, "known": False}),
    ]
    assert driver.read("paid-orders") == [("u", {"n": 1, "amount": 5})]
    assert driver.read("reminders") == [("u", {"open": False})]
    assert driver.read("letters") == [("u", "Ann, Rome")]
    assert driver.read("baskets-of-users") == [("b", ["Ann", "pen"])]
    assert driver.store("customers") == {"u": {"orders": 1, "paid": 5}, "v": {"orders": 1}}
    assert driver.bad_records == {}
