"""The autoscaler's containers on a real Docker engine; what runs in them only waits for SIGTERM."""

import time
import uuid
from collections.abc import Generator
from typing import Any

import pytest
from docker.models.containers import Container
from testcontainers.core.network import Network

import docker
from processor.errors import ActuatorFailed
from processor.scaling.docker_nodes import LABEL, DockerNodes
from tests.integration.conftest import PYTHON, needs_engine

pytestmark = [needs_engine, pytest.mark.usefixtures("python_image")]

WAITS = (
    "import signal, sys, time; "
    "signal.signal(signal.SIGTERM, lambda *_: (print('drained', flush=True), sys.exit(0))); "
    "print('runs', flush=True); time.sleep(600)"
)


@pytest.fixture
def network() -> Generator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def application(network: Network) -> Generator[str]:
    """A name; its containers are removed in the end."""
    name = f"app-{uuid.uuid4().hex[:8]}"
    yield name
    for container in containers(name):
        container.remove(force=True, v=True)


def containers(application: str, **filters: Any) -> list[Container]:
    every = {"label": f"{LABEL}={application}", **filters}
    found = docker.from_env().containers.list(all=True, filters=every, ignore_removed=True)
    return sorted(found, key=lambda each: each.attrs["Created"])


def start(application: str, network: Network) -> Container:
    return docker.from_env().containers.run(
        PYTHON,
        ["python3", "-c", WAITS],
        detach=True,
        labels={LABEL: application},
        environment={"KPROC_BOOTSTRAP": "kafka:9092"},
        network=network.name,
        mem_limit="64m",
        nano_cpus=500_000_000,
        stop_signal="SIGTERM",
    )


def await_log(container: Container, text: str) -> None:
    until = time.monotonic() + 120
    while text not in container.logs().decode():
        assert time.monotonic() < until
        time.sleep(0.05)


def await_count(application: str, count: int, **filters: Any) -> None:
    until = time.monotonic() + 120
    while len(containers(application, **filters)) != count:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_one_more_like_the_first_and_back(application: str, network: Network) -> None:
    first = start(application, network)
    nodes = DockerNodes(application)
    assert nodes.count() == 1
    nodes.scale_to(2)
    assert nodes.count() == 2
    second = containers(application)[1]
    await_log(second, "runs")
    assert second.attrs["Config"]["Cmd"] == first.attrs["Config"]["Cmd"]
    assert "KPROC_BOOTSTRAP=kafka:9092" in second.attrs["Config"]["Env"]
    assert second.attrs["HostConfig"]["NanoCpus"] == 500_000_000
    assert second.attrs["HostConfig"]["Memory"] == 64 * 2**20
    assert list(second.attrs["NetworkSettings"]["Networks"]) == [network.name]
    assert second.attrs["Config"]["Hostname"] != first.attrs["Config"]["Hostname"]
    nodes.scale_to(1)
    assert nodes.count() == 1
    await_count(application, 1)  # it was made here, so that it is removed
    assert containers(application)[0].id == first.id
    nodes.close()
    assert [text.split()[-1] for text in nodes.turn()] == ["starts", "finish"]


def test_one_that_was_stopped_is_started_again(application: str, network: Network) -> None:
    first, second = start(application, network), start(application, network)
    await_log(second, "runs")
    nodes = DockerNodes(application)
    nodes.scale_to(1)
    await_count(application, 1, status="exited")
    second.reload()
    assert second.status == "exited"
    assert "drained" in second.logs().decode()
    nodes.close()
    again = DockerNodes(application)
    again.scale_to(2)
    assert {each.id for each in containers(application, status="running")} == {first.id, second.id}
    again.close()


def test_the_first_is_somebody_elses(application: str) -> None:
    nodes = DockerNodes(application)
    assert nodes.count() == 0
    with pytest.raises(ActuatorFailed, match=f"no container has the label {LABEL}={application}"):
        nodes.scale_to(1)
    nodes.close()


def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(ActuatorFailed, match="does not answer"):
        DockerNodes("app").count()
