"""Testing a topology without Kafka.

def test_big_orders() -> None:
driver = TopologyDriver(topology)
driver.pipe("orders", key="ann", value=Order(user="ann", amount=700))
assert driver.read("big-orders") == [("ann", {"user": "ann", "big": True})]
assert driver.store("orders-count") == {"ann": 1}
"""

from processor.testing.driver import TopologyDriver

__all__ = ["TopologyDriver"]
