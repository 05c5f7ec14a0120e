"""What docker/compose.yaml describes, run container by container.

No `docker compose` is needed for it: the file is read here, and each of its keys has to be known.
"""

import json
import re
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker.models.containers import Container
from testcontainers.core.network import Network

import docker
from processor.durations import milliseconds
from processor.settings import Settings
from tests.brokers import IMAGE
from tests.integration.conftest import needs_engine

FOLDER = Path("docker").absolute()
FILE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = ["node-a", "node-b", "autoscale", "load"]
NEITHER_HERE_NOR_THERE = {
    *("build", "depends_on", "healthcheck", "ports", "profiles", "restart", "stop_grace_period"),
}
PATIENCE = 120.0
ASK = "import urllib.request as u; print(u.urlopen('http://localhost:9100/metrics').read())"


def _filled(text: str, variables: dict[str, str]) -> str:
    """The text with variables or their defaults in it."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: variables.get(m[1], m[2]), text)


class Composed:
    """Services of the file as containers on a network of their own."""

    def __init__(self, network: Network, stack: ExitStack, **variables: str) -> None:
        self._network, self._stack, self._variables = network, stack, variables
        self._disks: dict[str, str] = {}

    def start(self, name: str) -> Container:
        """Starts a service."""
        service = dict(SERVICES[name])
        for key in NEITHER_HERE_NOR_THERE:
            service.pop(key, None)
        client: Any = docker.from_env()
        networking = client.api.create_networking_config(
            {self._network.name: client.api.create_endpoint_config(aliases=[name])}
        )
        limits = {key: service.pop(key, None) for key in ("read_only", "cap_drop", "security_opt")}
        tmpfs = dict.fromkeys(service.pop("tmpfs", []), "")
        binds = [self._bind(each) for each in service.pop("volumes", [])]
        host = client.api.create_host_config(tmpfs=tmpfs, binds=binds, **limits)
        made = client.api.create_container(
            _filled(service.pop("image"), self._variables),
            command=[_filled(each, self._variables) for each in service.pop("command", [])] or None,
            environment=service.pop("environment", {}),
            hostname=service.pop("hostname", None),
            host_config=host,
            networking_config=networking,
        )
        assert not service, f"unknown keys of {name}"
        container = client.containers.get(made["Id"])
        self._stack.callback(container.remove, force=True, v=True)
        container.start()
        self._stack.callback(lambda: print(name, container.logs().decode()[-3000:]))
        return container

    def _bind(self, text: str) -> str:
        source, target, *mode = _filled(text, self._variables).split(":")
        if source.startswith("."):
            source = str((FOLDER / source).resolve())
        else:
            assert source in FILE["volumes"]
            if source not in self._disks:
                made = docker.from_env().volumes.create()
                self._stack.callback(made.remove, force=True)
                self._disks[source] = made.name
            source = self._disks[source]
        return ":".join([source, target, *(mode or ["rw"])])


@pytest.fixture
def composed(image: str) -> Generator[Composed]:
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        yield Composed(network, stack, KPROC_IMAGE=image, KAFKA_IMAGE=IMAGE)


def _await(holds: Callable[[], bool], *containers: Container) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        for each in containers:
            each.reload()
            assert each.status == "running", each.logs()[-3000:]
        assert time.monotonic() < deadline, [each.logs()[-3000:] for each in containers]
        time.sleep(0.2)


def _nodes(container: Container) -> list[dict[str, Any]]:
    """What `kproc status` says of them; none if it fails, as it may while Kafka is busy."""
    ask = ["kproc", "status", "word_count.py", "--json"]
    done: Any = container.exec_run(ask, demux=True)
    return json.loads(done.output[0])["nodes"] if done.exit_code == 0 else []


@pytest.mark.parametrize("name", OURS)
def test_nobody_may_do_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(each.endswith((":ro", ":/var/lib/kproc")) for each in service["volumes"])


def test_a_stop_is_waited_for() -> None:
    own = Settings()  # pyright: ignore[reportCallIssue] - all have defaults
    needed = milliseconds(own.drain_timeout, "") + milliseconds(own.shutdown_timeout, "")
    for name in ("node-a", "node-b"):
        assert milliseconds(SERVICES[name]["stop_grace_period"], "") >= needed + 5_000


def test_what_prometheus_asks_is_there() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    targets = [each for job in jobs for group in job["static_configs"] for each in group["targets"]]
    assert targets == ["node-a:8080", "node-b:8080", "autoscale:9100"]
    assert {each.partition(":")[0] for each in targets} <= SERVICES.keys()
    token = jobs[0]["authorization"]["credentials"]
    assert SERVICES["node-a"]["environment"]["KPROC_HTTP_TOKEN"] == token


@pytest.mark.kafka
@needs_engine
def test_two_nodes_count_words(composed: Composed) -> None:
    kafka = composed.start("kafka")
    nodes = [composed.start("node-a")]
    ready = ["kproc", "health", "--ready"]
    _await(lambda: nodes[0].exec_run(ready).exit_code == 0, kafka, nodes[0])
    nodes.append(composed.start("node-b"))

    def zones() -> list[str]:
        """Of nodes that have slots."""
        return sorted(each["zone"] for each in _nodes(nodes[0]) if each["primaries"])

    _await(lambda: zones() == ["a", "b"], kafka, *nodes)
    scaler, load = composed.start("autoscale"), composed.start("load")
    assert load.wait()["StatusCode"] == 0, load.logs()
    consume = ["kproc", "consume", "word-counts", "--until-end", "--format", "json"]
    counted = b'"topology"'
    _await(lambda: counted in nodes[1].exec_run(consume).output, kafka, *nodes)
    advice = b"kproc_recommended_nodes{"
    _await(lambda: advice in scaler.exec_run(["python3", "-c", ASK]).output, scaler)
    for node in nodes:
        node.stop(timeout=45)
        assert node.wait()["StatusCode"] == 0, node.logs()[-3000:]
