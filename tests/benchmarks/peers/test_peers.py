"""The workloads of the peers' benchmark as topologies, against their recomputation."""

import pytest
from msgspec.json import decode

from processor import Record, Timestamp
from processor.testing import TopologyDriver
from tests.benchmarks.peers.topology import UNREAD, define
from tests.benchmarks.peers.workloads import START, WORKLOADS, difference, rows

COUNT, AT_A_TIME = 8_000, 500


@pytest.mark.parametrize("workload", WORKLOADS)
def test_as_recomputed(workload: str) -> None:
    driver = TopologyDriver(define(workload, "peers"), partitions=3)
    for since in range(START - AT_A_TIME, START + COUNT, AT_A_TIME):
        for topic in WORKLOADS[workload].inputs:
            records = [
                Record(user, value if workload in UNREAD else decode(value), Timestamp(time))
                for user, value, time in rows(topic, COUNT)
                if since <= time < since + AT_A_TIME
            ]
            if records:
                driver.pipe(topic, *records)
    assert difference(workload, COUNT, driver.read("peers-results", key=str)) == ""
