"""The broker is killed, and comes back with the same data."""

from collections.abc import Generator
from pathlib import Path

import pytest

from processor.local.embedded import EmbeddedKafka
from tests.crashes.application import Application
from tests.integration.node_process import NodeProcess

pytestmark = pytest.mark.kafka


@pytest.fixture
def own_kafka(tmp_path: Path) -> Generator[EmbeddedKafka]:
    broker = EmbeddedKafka.start(tmp_path / "kafka", port=0)
    yield broker
    broker.kill()


def _restart(broker: EmbeddedKafka) -> EmbeddedKafka:
    broker.kill()
    return EmbeddedKafka.start(broker.data_dir, port=broker.port)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.long)])
def test_broker_is_killed(
    own_kafka: EmbeddedKafka, topic_name: str, tmp_path: Path, rounds: int
) -> None:
    application = Application(own_kafka.bootstrap, topic_name, tmp_path, seed=5)
    broker = own_kafka
    with NodeProcess(broker.bootstrap, application.file, slots=2) as node:
        application.feed.write(100)
        assert application.is_drained(), node.output
        for _ in range(rounds):
            application.feed.write(300)
            broker = _restart(broker)
            application.feed.write(300)
            assert application.is_drained(), node.output
        assert node.stop() == 0
    application.run_to_end()
    application.check()
    broker.stop()
