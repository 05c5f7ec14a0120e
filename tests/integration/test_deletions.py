"""Topics that are deleted, or deleted and made again, while the application runs."""

from collections.abc import Callable

import pytest

from tests import ledger
from tests.integration.conftest import App
from tests.integration.node_process import NodeProcess

pytestmark = pytest.mark.kafka

PARTITIONS = 2


@pytest.fixture
def counted(app: App) -> App:
    """An application that counts, and its topics."""
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out", partitions=PARTITIONS)
    return app


def feed(app: App) -> None:
    app.write(*((n % PARTITIONS, f"k{n}", "1") for n in range(10)))


def at_work(app: App, node: NodeProcess) -> None:
    """Waits until records are counted, and nothing is under way."""
    feed(app)
    app.await_output(10)
    app.await_log(node, "adopted")


def changelog(app: App) -> str:
    return f"{app.name}-counts-changelog"


def made_again(app: App, topic: str, **config: str) -> None:
    ledger.delete(app.kafka, [topic])
    ledger.create(app.kafka, {topic: PARTITIONS}, **config)


@pytest.mark.parametrize("feeds", [True, False], ids=["busy", "quiet"])
def test_a_changelog_that_is_deleted(counted: App, feeds: bool) -> None:  # noqa: FBT001
    with counted.start("--no-show") as node:
        at_work(counted, node)
        ledger.delete(counted.kafka, [changelog(counted)])
        if feeds:
            feed(counted)
        assert node.wait(180) == 5
    assert f"topics were deleted while {counted.name} ran" in node.output
    assert (
        f"store counts: its changelog {changelog(counted)} is gone, and with it the state: restore "
        f"the topic, or kproc reset {counted.file} --store counts to begin empty"
    ) in node.output
    assert "create the topic first" not in node.output
    counted.kproc("reset", "--store=counts", "--yes")
    feed(counted)
    counted.run()
    assert set(counted.latest().values()) == {b"2" if feeds else b"1"}


def test_a_changelog_that_is_made_again(counted: App) -> None:
    with counted.start("--no-show") as node:
        at_work(counted, node)
        made_again(counted, changelog(counted), **{"cleanup.policy": "compact"})
        assert node.wait(180) == 5
    assert f"its changelog {changelog(counted)} was deleted and made anew" in node.output
    assert f"kproc reset {counted.file} --store counts to begin empty" in node.output


def nothing(_app: App) -> None:
    """The new topic has fewer records than were read of the old one."""


def twice(app: App) -> None:
    """The new topic has a record at the offset that is to be read next."""
    feed(app)
    feed(app)


@pytest.mark.parametrize("fill", [nothing, twice])
def test_an_input_that_is_made_again(counted: App, fill: Callable[[App], None]) -> None:
    with counted.start("--no-show") as node:
        at_work(counted, node)
        made_again(counted, counted.input)
        fill(counted)
        assert node.wait(180) == 5
    assert f"input {counted.input}: it was deleted and made anew" in node.output
    assert (
        f"kproc reset {counted.file} to begin anew with the records that there are now"
        in node.output
    )
    assert "retention" not in node.output


def test_an_output_that_is_deleted(counted: App) -> None:
    with counted.start("--no-show") as node:
        at_work(counted, node)
        ledger.delete(counted.kafka, [counted.output])
        feed(counted)
        assert node.wait(180) == 3
    text = f"{counted.output} was deleted while {counted.name} ran: create it, then start again"
    assert text in node.output
    assert counted.input not in node.output[node.output.index(text) :]
