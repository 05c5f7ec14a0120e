"""Listens to an application from outside: what its nodes say of themselves, and for how long.

Owns the clocks by which somebody who listens judges silence. Takes no part in anything.
"""

import contextlib
import time
from collections.abc import Iterator

from processor.cluster.overview import Observer, Overview
from processor.errors import TopicMismatch
from processor.kafka.clients import ClientConfig, topics_of
from processor.node.slots_topic import BeatsReader
from processor.records import Timestamp
from processor.topology.plan import SLOTS

_TIMEOUT = 10.0
_MARGIN = 0.25
"""Seconds that a beat may take to get here."""
_PATIENCE = 2.0
"""Seconds that the first beats may take."""
_FRAME = 0.5


def overviews(
    client: ClientConfig, application: str, failover_timeout: int, epoch: int = 0
) -> Iterator[tuple[Overview, list[str]]]:
    """The node's state as soon as it is known who lives, and then twice a second, for ever.

    With each comes what went wrong meanwhile and resolves itself.

    Args:
        client: librdkafka settings.
        application: Its name.
        failover_timeout: Milliseconds of silence after which a node counts as dead.
        epoch: That of the description, if it is known: nodes with an earlier one are not seen.

    Raises:
        TopicMismatch: No such application has been started.
        KprocError: Kafka can't be reached, or refuses.
    """
    _check(client, application)
    observer = Observer(application, failover_timeout, epoch)
    with contextlib.closing(BeatsReader(client, application + SLOTS)) as reader:
        heard_at = None
        began = time.monotonic()
        due = began + failover_timeout / 1000 + _PATIENCE
        while True:
            beats = reader.read(0.1)
            now = time.monotonic()
            if beats and heard_at is None:
                due = now + failover_timeout / 1000 + _MARGIN
            heard_at = now if beats else heard_at
            for beat, at in beats:
                observer.hear(beat, at)
            if now >= due:
                problems, reader.passing = reader.passing, []
                on_the_wall = Timestamp(round(time.time() * 1000))
                yield observer.overview(now - (heard_at or began), on_the_wall), problems
                due = now + _FRAME


def live_nodes(
    client: ClientConfig, application: str, failover_timeout: int, epoch: int = 0
) -> list[str]:
    """The names of the nodes that run, which takes a moment of listening; see `overviews`.

    Raises:
        TopicMismatch: No such application has been started.
        KprocError: Kafka can't be reached, or refuses.
    """
    overview, _ = next(overviews(client, application, failover_timeout, epoch))
    return [node.name for node in overview.nodes if node.state in ("live", "leaving")]


def applications(client: ClientConfig, timeout: float = _TIMEOUT) -> list[str]:
    """The applications that have been started.

    Args:
        client: librdkafka settings.
        timeout: Seconds to wait for a broker.

    Raises:
        KprocError: No broker answers, or it refuses.
    """
    topics = topics_of(client, timeout=timeout)
    return sorted(name.removesuffix(SLOTS) for name in topics if name.endswith(SLOTS))


def _check(client: ClientConfig, application: str) -> None:
    found = applications(client)
    if application not in found:
        others = f"Others there: {', '.join(found)}" if found else "There is no other either"
        raise TopicMismatch(
            f"No application {application!r} has been started at "
            f"{client.get('bootstrap.servers')}: there is no topic {application}{SLOTS}. Check "
            f"the name and --bootstrap, or start it with `kproc run`. {others}."
        )
