"""Another number of slots, and inputs that grow, between two runs of a real application."""

import subprocess
from collections.abc import Callable

import pytest

from processor.admin import rescaling
from processor.errors import KafkaError
from processor.loading import load
from processor.topology.plan import plan
from tests import forks, ledger
from tests.integration.conftest import App
from tests.suites import long

pytestmark = pytest.mark.kafka

COUNTS = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"
COPY = "topology.stream(IN).to(OUT)"
KEPT = "topology.stream(IN).repartition(partitions=4).group_by_key().count(name='counts').to(OUT)"
KEYS = 40
Rescale = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rescale(app: App) -> Rescale:
    """Runs the command; the exit code must be as expected."""

    def run(*options: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        command = ["rescale", str(app.file), "--bootstrap", app.kafka, *options]
        done = forks.run("processor.cli", *command)
        assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run


def feed(app: App, partitions: int = 4) -> None:
    app.write(*((n % partitions, f"k{n}", "1") for n in range(KEYS)))


def counts(app: App) -> set[bytes | None]:
    latest = app.latest()
    assert set(latest) == {f"k{n}" for n in range(KEYS)}
    return set(latest.values())


def slots_of(app: App) -> int:
    return len(ledger.offsets(app.kafka, f"{app.name}-slots"))


def test_slots_come_and_go_and_state_stays(app: App, rescale: Rescale) -> None:
    app.define(COUNTS)
    app.topics("in", "out", partitions=4)
    del app.settings["slots"]
    feed(app)
    app.run(slots=1)
    for number, slots in enumerate((3, 4, 2), 2):
        shown = rescale("--slots", str(slots), "--yes")
        assert f"→ {slots}" in shown.stderr
        assert slots_of(app) == slots
        feed(app)
        node = app.run()
        workers = {line["slot"] for line in node.logged if line["event"] == "adopted"}
        assert workers == set(range(slots))
        assert counts(app) == {b"%d" % number}
    changelog = f"{app.name}-counts-changelog"
    state = ledger.state_of(ledger.read(app.kafka, changelog))
    found = ledger.check_store(
        app.folder / "state" / app.name / "counts",
        ledger.offsets(app.kafka, changelog),
        ledger.read(app.kafka, changelog),
    )
    assert found == state


def test_positions_of_other_slots_are_known_though_the_group_is_gone(
    app: App, rescale: Rescale
) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=4)
    app.settings["session_timeout"] = "6s"
    del app.settings["slots"]
    feed(app)
    app.run(slots=1)
    for slots in (3, 2):
        # What no slot has written since the last change is where slots of before have written it.
        rescale("--slots", str(slots), "--yes", "--set", "session_timeout=6s")
        ledger.delete_group(app.kafka, app.name)
        app.write((0, f"of {slots} slots", "1"))
        app.run(start_from="latest")
    feed(app)
    app.run()
    assert len(app.read()) == 2 * KEYS + 2


def test_another_number_in_the_settings_is_refused(app: App, rescale: Rescale) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=4)
    app.run(slots=2)
    node = app.run(slots=3, expect=2)
    assert f"{app.name} has 2 slots" in node.output
    assert f"kproc rescale {app.file} --slots 3" in node.output
    rescale("--slots", "3", "--yes")
    app.run(slots=3)


def test_nothing_is_rescaled_while_a_node_runs(app: App, rescale: Rescale) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=4)
    with app.start(slots=2) as node:
        app.await_log(node, "worker running")
        refused = rescale("--slots", "3", "--yes", expect=2)
        assert "still run" in refused.stderr
        assert node.stop() == 0
    assert slots_of(app) == 2


def test_without_a_terminal_and_yes_nothing_is_done(app: App, rescale: Rescale) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=4)
    assert "has not been started" in rescale("--slots", "3", expect=3).stderr
    app.run(slots=2)
    assert "--yes" in rescale("--slots", "3", expect=2).stderr
    assert "0_3" in rescale("--slots", "3", "--dry-run").stdout
    assert "nothing to do" in rescale("--slots", "2").stderr
    assert "TOPIC=N" in rescale("--partitions", "in", expect=2).stderr
    assert "Give --slots" in rescale(expect=2).stderr
    assert "is no input" in rescale("--partitions", "other=5", expect=2).stderr
    assert "Kafka takes none away" in rescale("--partitions", f"{app.input}=3", expect=2).stderr
    assert slots_of(app) == 2


def test_an_input_without_state_grows(app: App, rescale: Rescale) -> None:
    app.define(COPY)
    app.topics("in", "out", partitions=4)
    feed(app)
    app.settings |= {"slots": 2, "session_timeout": "6s", "start_from": "latest"}
    app.run()
    rescale("--partitions", f"{app.input}=6", "--yes", "--set", "session_timeout=6s")
    # What comes before the next start is no history: it must not be passed over.
    feed(app, partitions=6)
    app.run()
    assert len(app.read()) == KEYS


def test_an_input_with_state_grows_downstream_of_a_repartition(app: App, rescale: Rescale) -> None:
    app.define(COUNTS)
    app.topics("in", "out", partitions=4)
    placed = [(n, f"k{n}", "1") for n in range(KEYS)]
    producer = ledger.Producer({"bootstrap.servers": app.kafka, "partitioner": "murmur2_random"})
    for _, key, value in placed:  # where a repartition would put them, too
        producer.produce(app.input, value, key)
    producer.flush()
    app.settings |= {"slots": 2, "session_timeout": "6s"}
    app.run()
    refused = rescale("--partitions", f"{app.input}=6", "--yes", expect=3)
    assert ".repartition(partitions=4)" in refused.stderr
    app.define(KEPT)
    rescale("--partitions", f"{app.input}=6", "--yes")
    feed(app, partitions=6)
    app.run()
    assert counts(app) == {b"2"}


@pytest.mark.parametrize("done", [1, *long(0, 2)])
def test_cut_off_between_its_steps_it_can_be_done_again(
    app: App, rescale: Rescale, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.define(COUNTS)
    app.topics("in", "out", partitions=4)
    feed(app)
    app.run(slots=3)

    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    steps = ["await_retired", "_settle", "create_topics"]
    monkeypatch.setattr(rescaling, steps[done], cut)
    client = {"bootstrap.servers": app.kafka}
    change = rescaling.survey(plan(load(str(app.file))), client, slots=2, partitions={})
    with pytest.raises(Cut):
        rescaling.rescale(change, client, replication=1, patience=10, on_step=print)
    feed(app)
    if done < 2:
        rescale("--slots", "2", "--yes")
    app.run(slots=2)
    assert counts(app) == {b"2"}


def test_members_that_do_not_end_are_reported(app: App) -> None:
    app.define(COUNTS)
    app.topics("in", "out", partitions=4)
    feed(app)
    app.run(slots=3, session_timeout="4m")
    client = {"bootstrap.servers": app.kafka}
    change = rescaling.survey(plan(load(str(app.file))), client, slots=2, partitions={})
    with pytest.raises(KafkaError, match=f"{app.name}-02 are still members"):
        rescaling.rescale(change, client, replication=1, patience=-14, on_step=print)
    assert slots_of(app) == 3
