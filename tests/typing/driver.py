"""What pyright has to make of what a TopologyDriver reads; checked by test_inference, never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from processor import Record, Topology
from processor.serdes import json_of
from processor.testing import TopologyDriver


@dataclass(frozen=True)
class Order:
    user: str
    amount: int


driver = TopologyDriver(Topology("typed"))
assert_type(driver.read("out"), list[tuple[Any, Any]])
assert_type(driver.read("out", key=str), list[tuple[Any, Any]])
assert_type(driver.read("out", value=Order), list[tuple[Any, Order]])
assert_type(driver.read("out", value=json_of(Order)), list[tuple[Any, Order]])
assert_type(driver.read_records("out", value=Order), list[Record[Any, Order]])
