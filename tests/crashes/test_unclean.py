"""A leader is elected that lacks what was processed, and its log grows past that."""

import time

import pytest
from confluent_kafka.cimpl import NewTopic

from processor.local.brokers import Brokers
from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka


def test_an_input_that_lost_what_was_processed(
    brokers: Brokers, topic_name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    app = App(brokers.bootstrap, topic_name, tmp_path_factory.mktemp("app"))
    app.define("topology.stream(IN).to(OUT)")
    app.topics("out")
    config = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
    asked = NewTopic(app.input, num_partitions=1, replica_assignment=[[1, 2]], config=config)
    ledger.admin(app.kafka).create_topics([asked])[app.input].result(30)
    assert ledger.offsets(app.kafka, app.input) == {0: 0}
    brokers.await_whole()
    lost, left = brokers.leader(app.input), 3 - brokers.leader(app.input)
    app.write(*((0, "k", str(n)) for n in range(10)))
    brokers.stop(left)
    app.write(*((0, "k", str(n)) for n in range(10)))
    node = app.run()
    assert len(app.read()) == 20, node.output
    brokers.kill(lost)
    brokers.start([left])
    deadline = time.monotonic() + 120
    while brokers.leader(app.input) != left:
        assert time.monotonic() < deadline, "no leader is elected"
        time.sleep(0.1)
    app.write(*((0, "k", str(n)) for n in range(25)))
    brokers.start([lost])
    brokers.await_whole()
    assert ledger.offsets(app.kafka, app.input) == {0: 35}
    node = app.run(expect=5)
    assert "has lost records that were processed already" in node.output
    assert len(app.read()) == 20
