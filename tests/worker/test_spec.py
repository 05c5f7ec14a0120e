"""What a worker is given at its start, and what its clients are made with."""

import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest
from confluent_kafka import Consumer

from processor import Topology
from processor.kafka.clients import COMMON
from processor.node.node import worker_spec
from processor.settings import Settings
from processor.topology.plan import Layout, Settled, plan
from processor.worker.spec import WorkerSpec

CANARY = "canary-7f3a"


@pytest.mark.parametrize("timeout", ["6s", "10m"])
def test_a_consumer_takes_any_session_timeout(timeout: str) -> None:
    topology = Topology("app")
    topology.stream("in").to("out")
    settings = Settings(session_timeout=timeout, bootstrap="127.0.0.1:1")
    spec = worker_spec("none.py", Layout(plan(topology), {"in": 1}), settings, 0)
    Consumer({**COMMON, **spec.input_config()}).close()


def test_a_worker_gets_the_settings_in_sections_and_shows_no_secret() -> None:
    topology = Topology("app")
    topology.stream("in", value=int).group_by_key().count(name="totals").to("out")
    layout = Layout(
        plan(topology), {"in": 1}, settled=Settled({"in": ((0,),)}, {"in": 1}, {"in": "x"})
    )
    settings = Settings(
        kafka={"sasl.password": CANARY},
        consumer={"ssl.key.password": CANARY},
        producer={"ssl.key.password": CANARY},
        schema_registry={"basic.auth.user.info": f"ann:{CANARY}"},
        snapshot_url="s3://snapshots",
        snapshot_interval="5m",
    )
    spec = worker_spec("none.py", layout, settings, 0)
    assert CANARY not in repr(spec)
    sent = msgspec.json.decode(msgspec.json.encode(spec), type=WorkerSpec)
    assert sent == spec
    assert (sent.clients, sent.state, sent.snapshots) == (
        settings.clients,
        settings.state,
        settings.snapshots,
    )
    assert replace(sent.options, limits={}) == settings.options
    assert sent.options.persist_interval == 1000


def test_a_worker_is_there_without_what_only_settings_need() -> None:
    """Each worker process, spare ones as well, takes half as long again to import pydantic."""
    code = "import sys, processor.worker.process; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
