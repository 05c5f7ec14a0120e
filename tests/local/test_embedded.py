"""The embedded Kafka: start, restart, crash, and what can be in its way."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from processor.errors import KafkaError, UsageError
from processor.kafka.clients import create_topic
from processor.kafka.transfer import Row, has_records, load_once, read
from processor.local.embedded import EmbeddedKafka, free_ports, running
from tests.suites import long

pytestmark = pytest.mark.kafka


def test_keeps_its_data_over_stop_crash_and_another_port(tmp_path: Path) -> None:
    with EmbeddedKafka.start(tmp_path, port=0) as first:
        admin: Any = AdminClient({"bootstrap.servers": first.bootstrap})
        admin.create_topics([NewTopic("kept")])["kept"].result()
        producer = Producer({"bootstrap.servers": first.bootstrap, "enable.idempotence": True})
        producer.produce("kept", b"value")
        assert producer.flush(60) == 0
        cluster = admin.list_topics().cluster_id
        first.kill()
        assert not first.is_alive()
        assert running(tmp_path) is None
    with EmbeddedKafka.start(tmp_path, port=0) as second:
        metadata = AdminClient({"bootstrap.servers": second.bootstrap}).list_topics()
        assert "kept" in metadata.topics
        assert metadata.cluster_id == cluster


def test_another_process_finds_it_and_stops_it(tmp_path: Path) -> None:
    with EmbeddedKafka.start(tmp_path, port=0) as kafka:
        found = running(tmp_path)
        assert found is not None
        assert (found.bootstrap, found.pid, found.version) == (kafka.bootstrap, kafka.pid, "4.1.0")
        with pytest.raises(UsageError, match=rf"already runs on .* at {kafka.bootstrap}"):
            EmbeddedKafka.start(tmp_path, port=0)
        found.stop()
        assert not kafka.is_alive()
        assert running(tmp_path) is None


def test_takes_broker_settings_and_listens_on_loopback_only(tmp_path: Path) -> None:
    with EmbeddedKafka.start(
        tmp_path, port=0, config={"auto.create.topics.enable": "true"}
    ) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.list_topics("made-by-asking", timeout=60)
        assert "auto.create.topics.enable=true" in (tmp_path / "server.properties").read_text()
        sockets = psutil.Process(kafka.pid).net_connections("inet")
        listening = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_says_what_kafka_said_when_it_ends_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(KafkaError, match=r"(?s)ended at its start.*kafka.log.*no.such.Class"):
        EmbeddedKafka.start(tmp_path, port=0, config={"authorizer.class.name": "no.such.Class"})


def test_ends_with_the_process_that_started_it_unless_detached(tmp_path: Path) -> None:
    for detach in (False, True):
        folder = tmp_path / str(detach)
        script = (
            "import os, pathlib\n"
            "from processor.local.embedded import EmbeddedKafka\n"
            f"EmbeddedKafka.start(pathlib.Path({str(folder)!r}), port=0, detach={detach})\n"
            f"os.kill(os.getpid(), {signal.SIGKILL:d})\n"
        )
        done = subprocess.run([sys.executable, "-c", script], check=False)
        assert done.returncode == -signal.SIGKILL
        pid = json.loads((folder / "kafka.json").read_text())["pid"]
        if detach:
            kafka = running(folder)
            assert kafka is not None
            kafka.stop()
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(120)
        assert running(folder) is None


def test_a_port_in_use_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} on 127.0.0.1 is in use"):
            EmbeddedKafka.start(tmp_path, port=port)


def test_a_stale_identity_is_not_taken_for_a_running_kafka(tmp_path: Path) -> None:
    identity = {"pid": os.getpid(), "created": time.time() - 1e6, "port": 1, "version": "4.1.0"}
    (tmp_path / "kafka.json").write_text(json.dumps(identity))
    assert running(tmp_path) is None


@pytest.mark.parametrize("count", [1, 6, 200])
def test_free_ports_are_all_different(count: int) -> None:
    ports = free_ports(count)
    assert len(set(ports)) == len(ports) == count


@pytest.mark.parametrize("version", long("4.0.0", "4.4.0"))
def test_other_versions_start_and_take_transactions(version: str, tmp_path: Path) -> None:
    with EmbeddedKafka.start(tmp_path / "kafka", port=0, version=version) as kafka:
        client = {"bootstrap.servers": kafka.bootstrap}
        create_topic(client, "rows", 1)
        rows = [Row(b"k", b"%d" % number) for number in range(10)]
        assert load_once(client, "rows", rows) == 10
        while not has_records(client, "rows"):  # markers come after the commit is acknowledged
            time.sleep(0.05)
        found = [each.value() for batch in read(client, "rows", until_end=True) for each in batch]
        assert found == [row.value for row in rows]
