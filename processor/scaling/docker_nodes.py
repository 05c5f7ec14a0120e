"""Nodes as Docker containers, of which the first is started by somebody else.

They are known by the label `kproc.application`. A further one is made as the oldest is: image,
command, settings, labels, mounts, limits and networks; published ports and a name can't be twice.
Those that were stopped are started again before new ones are made.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from processor.errors import ActuatorFailed, UsageError
from processor.wording import adding

LABEL = "kproc.application"
_OURS = "kproc.autoscaled"
_GRACE = 40
"""Seconds that a container has to stop if it says nothing: a node drains, then finishes."""
_GONE = {404, 409}
"""What Docker answers for a container that is removed already, or is being removed."""
_OF_ONE = ("Hostname", "Domainname", "MacAddress")
_OF_ONE_ON_HOST = ("PortBindings", "ContainerIDFile", "Links")


class DockerNodes:
    """An actuator for the containers of one Docker engine.

    Args:
        application: Its name, which is the label's value.

    Raises:
        UsageError: The extra `docker` is not installed.
        ActuatorFailed: The engine does not answer.
    """

    def __init__(self, application: str) -> None:
        try:
            from docker.errors import DockerException  # noqa: PLC0415

            import docker  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise UsageError(f"the actuator docker needs a package: {adding('docker')}") from None
        self._failure: type[Exception] = DockerException
        self._application = application
        try:
            self._client: Any = docker.from_env()
        except DockerException as error:
            raise ActuatorFailed(
                f"the Docker engine does not answer: {error}. Let it run, or let DOCKER_HOST say "
                "where it is"
            ) from error
        self._stopping: dict[str, Future[None]] = {}
        self._stopper = ThreadPoolExecutor(thread_name_prefix="docker-stop")
        self._news: list[str] = []

    def count(self) -> int:
        """How many containers run and are not being stopped.

        Raises:
            ActuatorFailed: The engine does not answer.
        """
        return len(self._running())

    def scale_to(self, nodes: int) -> None:
        """Starts containers like the oldest, or stops the newest.

        Raises:
            ActuatorFailed: There is no container to copy, or the engine refuses.
        """
        running = self._running()
        for container in running[nodes:]:
            self._news.append(f"container {container.name} is asked to finish")
            self._stopping[container.id] = self._stopper.submit(self._stop, container)
        for _ in range(nodes - len(running)):
            self._start()

    def turn(self) -> Iterator[str]:
        """Says what was done.

        Raises:
            ActuatorFailed: A container could not be stopped.
        """
        for name, done in list(self._stopping.items()):
            if done.done():
                del self._stopping[name]
                if error := done.exception():
                    raise ActuatorFailed(f"a container could not be stopped: {error}") from error
        news, self._news = self._news, []
        yield from news

    def close(self) -> None:
        """Lets the containers run on; waits for those that are being stopped."""
        self._stopper.shutdown()
        self._client.close()

    def _start(self) -> None:
        every = self._containers(all=True)
        stopped = [each for each in every if each.status in {"exited", "created"}]
        stopped = [each for each in stopped if each.id not in self._stopping]
        if not every:
            raise ActuatorFailed(
                f"no container has the label {LABEL}={self._application}: start the first one with "
                "it, and further ones are made alike"
            )
        try:
            container = stopped[0] if stopped else self._make(every[0])
            container.start()
        except self._failure as error:
            raise ActuatorFailed(f"the Docker engine starts no container: {error}") from error
        self._news.append(f"container {container.name} starts")

    def _make(self, pattern: Any) -> Any:
        """A container like another."""
        found = pattern.attrs
        config = {name: value for name, value in found["Config"].items() if name not in _OF_ONE}
        config["Labels"] = {**(config.get("Labels") or {}), _OURS: "true"}
        host = {n: value for n, value in found["HostConfig"].items() if n not in _OF_ONE_ON_HOST}
        networks = found["NetworkSettings"]["Networks"]
        config["HostConfig"] = host
        config["NetworkingConfig"] = {
            "EndpointsConfig": {name: _endpoint(each) for name, each in networks.items()}
        }
        made = self._client.api.create_container_from_config(config)
        return self._client.containers.get(made["Id"])

    def _stop(self, container: Any) -> None:
        """Asks it to finish; Docker kills it if it has not done so in its stop timeout.

        One made here is removed with its unnamed volumes, unless Docker does so (`--rm`).
        """
        try:
            container.stop(timeout=container.attrs["Config"].get("StopTimeout") or _GRACE)
            if container.labels.get(_OURS):
                container.remove(v=True)
        except self._failure as error:
            if getattr(error, "status_code", None) not in _GONE:
                raise

    def _running(self) -> list[Any]:
        return [each for each in self._containers() if each.id not in self._stopping]

    def _containers(self, **more: Any) -> list[Any]:
        """The application's containers, the oldest first."""
        try:
            found = self._client.containers.list(
                filters={"label": f"{LABEL}={self._application}"}, ignore_removed=True, **more
            )
        except self._failure as error:
            raise ActuatorFailed(f"the Docker engine does not answer: {error}") from error
        return sorted(found, key=lambda each: each.attrs["Created"])


def _endpoint(network: dict[str, Any]) -> dict[str, Any]:
    """What a container in this network says of itself; its name there is its own."""
    aliases = [each for each in network.get("DNSNames") or network.get("Aliases") or () if each]
    return {"Aliases": aliases[:1] if network.get("Aliases") else []}
