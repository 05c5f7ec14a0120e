"""What a worker's clients are told, as librdkafka takes it."""

import subprocess
import sys

import pytest
from confluent_kafka import Consumer

from processor import Topology
from processor.kafka.clients import QUIET
from processor.node.node import worker_spec
from processor.settings import Settings
from processor.topology.plan import Layout, plan


@pytest.mark.parametrize("timeout", ["6s", "10m"])
def test_a_consumer_takes_any_session_timeout(timeout: str) -> None:
    topology = Topology("app")
    topology.stream("in").to("out")
    settings = Settings(session_timeout=timeout, bootstrap="127.0.0.1:1")
    spec = worker_spec("none.py", Layout(plan(topology), {"in": 1}), settings, 0)
    Consumer({**QUIET, **spec.input_config()}).close()


def test_a_worker_is_there_without_what_only_settings_need() -> None:
    """Each worker process, spare ones as well, takes half as long again to import pydantic."""
    code = "import sys, processor.worker.process; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
