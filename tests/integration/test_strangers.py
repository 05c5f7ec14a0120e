"""Somebody else's consumer in the application's group: it is reported, and nothing is lost."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
from confluent_kafka import Consumer

from tests import forks
from tests.integration.conftest import App
from tests.integration.watch import Watch

pytestmark = pytest.mark.kafka


@contextmanager
def stranger(app: App) -> Generator[Consumer]:
    """A consumer that joins the application's group, and leaves it in the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": app.kafka,
            "group.id": app.name,
            "client.id": "somebody",
            "enable.auto.commit": False,
            "heartbeat.interval.ms": 500,
            "log_level": 0,
        }
    )
    consumer.subscribe([app.input])
    left = Event()

    def work() -> None:
        while not left.is_set():
            consumer.poll(0.1)
        consumer.close()

    thread = Thread(target=work, daemon=True)
    thread.start()
    yield consumer
    left.set()
    thread.join()


def status(app: App) -> tuple[int, dict[str, Any]]:
    options = ["status", "--json", "--application", app.name, "--bootstrap", app.kafka]
    done = forks.run("processor.cli", *options)
    return done.returncode, json.loads(done.stdout)


def test_a_stranger_in_the_group_is_named_and_what_it_holds_is_lag(app: App) -> None:
    app.define("topology.stream(IN, value=dict[str, Any]).to(OUT)")
    app.topics("in", "out")
    app.write(*((partition, "k", b"{}") for partition in (0, 1)))
    with app.start("--no-show") as node:
        app.await_output(2)
        watch = Watch(app.kafka, app.name, 1)
        with stranger(app):
            held = watch_until_deprived(watch)
            assert "somebody" in held
            assert f"{app.input}[" in held
            app.write(*((partition, "k", b"{}") for partition in (0, 1) for _ in range(300)))
            watch.until(lambda: lag(watch) == 300)  # one partition of two is the slot's still
            code, seen = status(app)
            assert (code, seen["healthy"]) == (9, False)
            slot = seen["slots"][0]
            assert (slot["primary"]["state"], slot["primary"]["lag"]) == ("deprived", 300)
            assert slot["primary"]["withheld"] == held
            assert app.await_log(node, "partitions are withheld")["text"] == held
        app.await_output(602)
        watch.until(lambda: watch.is_running() and lag(watch) == 0)
        assert status(app)[0] == 0
        assert node.stop() == 0
    assert len(app.read()) == 602


def lag(watch: Watch) -> int | None:
    return watch.beats[0].replicas[0].lag if watch.beats else None


def watch_until_deprived(watch: Watch) -> str:
    def is_deprived() -> bool:
        return any(each.replicas and each.replicas[0].withheld for each in watch.beats)

    watch.until(is_deprived)
    return watch.beats[0].replicas[0].withheld
