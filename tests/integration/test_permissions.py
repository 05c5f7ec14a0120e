"""What the broker forbids is reported as such, with what it was about; exit code 3."""

import shutil
import time
from collections.abc import Callable

import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests import ledger
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


@pytest.fixture
def counting(strict_kafka: str, make_app: Callable[[str], App]) -> App:
    """An application that has run already; now there is more to do."""
    app = make_app(strict_kafka)
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    app.write((0, "k", "1"), (1, "l", "1"))
    app.run()
    app.write((0, "k", "1"), (1, "l", "1"))
    return app


def _forbid(
    app: App, kind: ResourceType, name: str, operation: AclOperation, *others: AclOperation
) -> None:
    """Denies an operation on a resource to everyone, and allows the others named."""
    rules = {operation: AclPermissionType.DENY}
    rules |= dict.fromkeys(others, AclPermissionType.ALLOW)
    acls = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:*", "*", each, permission)
        for each, permission in rules.items()
    ]
    for made in ledger.admin(app.kafka).create_acls(acls).values():
        made.result(30)
    # They are decided by the controller; the broker hears of them a moment later.
    for acl in acls:
        while not _described(app, acl):
            time.sleep(0.01)


def _described(app: App, acl: AclBinding) -> list[AclBinding]:
    """Those that the broker knows of this kind."""
    asked = AclBindingFilter(
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )
    return ledger.admin(app.kafka).describe_acls(asked).result(30)


def _check_forbidden(app: App, said: str, *options: str) -> None:
    node = app.run(*options, expect=3)
    last = node.output.splitlines()[-1]
    print(last)
    assert last.startswith("kproc: Kafka forbids to")
    assert said in last


def test_read_the_input(counting: App) -> None:
    _forbid(counting, ResourceType.TOPIC, counting.input, READ, DESCRIBE)
    _check_forbidden(counting, counting.input)


def test_write_the_output(counting: App) -> None:
    _forbid(counting, ResourceType.TOPIC, counting.output, WRITE, DESCRIBE)
    _check_forbidden(counting, counting.output)


def test_write_the_output_at_least_once(counting: App) -> None:
    _forbid(counting, ResourceType.TOPIC, counting.output, WRITE, DESCRIBE)
    _check_forbidden(counting, counting.output, "--guarantee=at-least-once")


def test_write_the_changelog(counting: App) -> None:
    changelog = f"{counting.name}-counts-changelog"
    config = AclOperation.DESCRIBE_CONFIGS
    _forbid(counting, ResourceType.TOPIC, changelog, WRITE, DESCRIBE, READ, config)
    _check_forbidden(counting, changelog)


def test_read_the_changelog(counting: App) -> None:
    changelog = f"{counting.name}-counts-changelog"
    config = AclOperation.DESCRIBE_CONFIGS
    _forbid(counting, ResourceType.TOPIC, changelog, READ, DESCRIBE, WRITE, config)
    shutil.rmtree(counting.folder / "state")
    _check_forbidden(counting, changelog)


def test_join_the_group(counting: App) -> None:
    _forbid(counting, ResourceType.GROUP, counting.name, READ, DESCRIBE)
    _check_forbidden(counting, "group")


def test_use_the_transactional_id(counting: App) -> None:
    _forbid(counting, ResourceType.TRANSACTIONAL_ID, f"{counting.name}-00", WRITE, DESCRIBE)
    _check_forbidden(counting, "ransactional")


def test_create_topics(strict_kafka: str, make_app: Callable[[str], App]) -> None:
    app = make_app(strict_kafka)
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    topic = f"{app.name}-counts-changelog"
    _forbid(app, ResourceType.TOPIC, topic, AclOperation.CREATE)
    # The broker and this test go on doing their work.
    others = (AclOperation.ALTER, AclOperation.CLUSTER_ACTION, DESCRIBE)
    _forbid(app, ResourceType.BROKER, "kafka-cluster", AclOperation.CREATE, *others)
    try:
        _check_forbidden(app, f"create the topic {topic}")
    finally:
        _allow_all_again(app)


def test_see_the_input(counting: App) -> None:
    _forbid(counting, ResourceType.TOPIC, counting.input, DESCRIBE)
    node = counting.run(expect=3)
    assert f"read but not there: {counting.input}" in node.output
    assert "or may not be seen" in node.output


def _allow_all_again(app: App) -> None:
    everything = AclBindingFilter(
        ResourceType.BROKER,
        None,
        ResourcePatternType.ANY,
        None,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = ledger.admin(app.kafka)
    admin.delete_acls([everything])[everything].result(30)
    while admin.describe_acls(everything).result(30):
        time.sleep(0.01)


def test_write_a_chosen_topic(strict_kafka: str, make_app: Callable[[str], App]) -> None:
    """Records for it are bad ones, and those for others are not."""
    app = make_app(strict_kafka)
    app.define("topology.stream(IN).to(lambda record: APP + '-not' if record.value == 2 else OUT)")
    app.topics("in", "out", "not", partitions=1)
    _forbid(app, ResourceType.TOPIC, f"{app.name}-not", WRITE, DESCRIBE)
    app.write(*((0, "k", value) for value in "123"))
    app.run()
    assert [row.value for row in app.read()] == [b"1", b"3"]
    (letter,) = app.read("dead-letters")
    assert dict(letter.headers)["kproc.reason"] == b"refused"


def test_alter_an_own_topic(counting: App) -> None:
    """It goes on with what the topic takes, and says what is to be done."""
    changelog = f"{counting.name}-counts-changelog"
    ledger.configure(counting.kafka, changelog, {"max.message.bytes": "900000"})
    configs = AclOperation.DESCRIBE_CONFIGS
    _forbid(
        counting,
        ResourceType.TOPIC,
        changelog,
        AclOperation.ALTER_CONFIGS,
        READ,
        WRITE,
        DESCRIBE,
        configs,
    )
    (logged,) = [line for line in counting.run().logged if line["event"] == "brokers"]
    assert f"--entity-name {changelog} --add-config max.message.bytes=" in logged["text"]
    assert counting.latest() == {"k": b"2", "l": b"2"}


def test_what_is_open_is_aborted_before_the_end(counting: App) -> None:
    """Outputs were sent before the changelog was refused; nobody has to wait for their time-out."""
    changelog = f"{counting.name}-counts-changelog"
    configs = AclOperation.DESCRIBE_CONFIGS
    _forbid(counting, ResourceType.TOPIC, changelog, WRITE, READ, DESCRIBE, configs)
    counting.run(expect=3)
    committed, deadline = IsolationLevel.READ_COMMITTED, time.monotonic() + 30  # of 60 s
    for topic in (counting.output, f"{counting.name}-positions"):
        while ledger.offsets(counting.kafka, topic, isolation=committed) != ledger.offsets(
            counting.kafka, topic
        ):
            assert time.monotonic() < deadline, f"a transaction is open in {topic}"
            time.sleep(0.05)
