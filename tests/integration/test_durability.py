"""What is reported of brokers and topics at the start."""

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from processor import Topology
from processor.kafka.changelogs import retention_of, tombstone_retention
from processor.kafka.durability import _old, shortcomings
from processor.kafka.limits import settings_of
from processor.local.brokers import Brokers
from processor.node.setup import prepare
from processor.settings import Settings
from processor.topology.plan import Layout, Plan, plan
from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka


def planned(name: str) -> Plan:
    topology = Topology(name)
    topology.stream(f"{name}-in").group_by_key().count(name="counts")
    return plan(topology)


def prepared(kafka: str, name: str, replication: int) -> Layout:
    settings = Settings(bootstrap=kafka, replication_factor=replication, slots=1)
    return prepare(planned(name), settings)


UNCLEAN = "unclean.leader.election.enable"


@pytest.fixture
def unclean(kafka: str) -> Generator[str]:
    """A Kafka whose topics by default elect leaders that lack records."""
    client: Any = ledger.admin(kafka)
    (node,) = client.list_topics(timeout=30).brokers
    for operation in (AlterConfigOpType.SET, AlterConfigOpType.DELETE):
        entry = ConfigEntry(UNCLEAN, "true", incremental_operation=operation)
        broker = ConfigResource(ResourceType.BROKER, str(node), incremental_configs=[entry])
        client.incremental_alter_configs([broker])[broker].result(30)
        if operation is AlterConfigOpType.SET:
            yield kafka


def await_unclean(client: Any, names: list[str], value: str) -> None:
    """Waits until the broker says so of all topics: it knows what was altered a moment later."""
    deadline = time.monotonic() + 30
    while {each[UNCLEAN] for each in settings_of(client, names).values()} != {value}:
        assert time.monotonic() < deadline, f"not all of {names} have {UNCLEAN}={value}"
        time.sleep(0.05)


def test_no_leader_of_an_own_topic_may_lack_records(unclean: str) -> None:
    """Whatever the brokers' default, in topics that are made, and in those that are there."""
    client: Any = ledger.admin(unclean)
    ledger.create(unclean, {"unclean-in": 1})
    await_unclean(client, ["unclean-in"], "true")
    layout = prepared(unclean, "unclean", -1)
    names = [topic.name for topic in layout.internal_topics]
    await_unclean(client, names, "false")
    ledger.configure(unclean, "unclean-counts-changelog", {UNCLEAN: "true"})
    await_unclean(client, ["unclean-counts-changelog"], "true")
    (warning,) = shortcomings({"bootstrap.servers": unclean}, layout)
    assert warning.startswith("unclean-counts-changelog refuses or may lose records")
    assert warning.endswith(f"--add-config {UNCLEAN}=false")
    prepared(unclean, "unclean", -1)
    await_unclean(client, names, "false")


def test_an_application_says_so_at_its_start(app: App) -> None:
    app.define("topology.stream(IN, value=dict[str, Any]).to(OUT)")
    app.topics("in", "out", **{"min.insync.replicas": "1"})
    app.write((0, "k", b"{}"))
    assert not [line for line in app.run().logged if line["event"] == "brokers"]
    ledger.configure(app.kafka, app.input, {"min.insync.replicas": "2"})
    (logged,) = [line for line in app.run().logged if line["event"] == "brokers"]
    assert logged["level"] == "warning"
    assert f"min.insync.replicas of {app.input} is 2" in logged["text"]


def test_brokers_that_lack_settings(kafka: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic(**{"delete.retention.ms": "12345"})
    client: Any = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    assert tombstone_retention(client, topic) == 12345
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = client.describe_configs([resource])[resource].result(30)
    values = {name: entry.value for name, entry in config.items()}
    assert list(_old([values])) == []
    del values["message.timestamp.after.max.ms"], config["delete.retention.ms"]
    (warning,) = _old([values])
    assert "kafka-transactions.sh find-hanging" in warning
    assert retention_of(config) == 0  # so that nothing deleted comes back


def test_own_topics_that_are_kept_by_fewer_brokers_than_the_input(brokers: Brokers) -> None:
    kafka = brokers.bootstrap
    ledger.create(kafka, {"low-in": 2, "high-in": 2}, **{"min.insync.replicas": "2"})
    client = {"bootstrap.servers": kafka}
    assert shortcomings(client, prepared(kafka, "high", -1)) == []
    low = prepared(kafka, "low", 1)
    (replicas,) = shortcomings(client, low)
    assert replicas.startswith(
        "fewer brokers keep the application's own topics than its input: replicas of low-in is 3, "
        "but of low-counts-changelog (1), "
    )
    ledger.configure(kafka, "low-counts-changelog", {"min.insync.replicas": "1"})
    _, acknowledged = shortcomings(client, low)
    assert "min.insync.replicas of low-in is 2, but of low-counts-changelog (1). " in acknowledged
