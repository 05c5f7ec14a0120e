"""`kproc chaos` as a user runs it: real nodes, real faults, and a verdict that can be trusted."""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from processor import Topology
from processor.chaos.schedule import OF_ROLES, Terms, kinds_of, schedule
from processor.cli.chaos import refuse_changing_tables
from processor.cli.feeds import sources_of
from processor.errors import UsageError
from processor.local.embedded import free_port
from processor.topology.plan import plan
from tests import forks
from tests.commands import kproc

VICTIMS = ("worker", "node", "supervisor")
FLIGHTS = Path("topologies/flights.py").absolute()
SAMPLE = """
from collections.abc import Iterator
from dataclasses import dataclass
from random import random

from processor import Record, Timestamp, Topology


@dataclass
class Order:
    user: str
    amount: int


def sample() -> Iterator[Record[str, Order]]:
    for number in range(2000):
        order = Order(f"u{{number % 20}}", number % 997)
        yield Record(f"k{{number % 50}}", order, Timestamp(1_600_000_000_000 + number))


topology = Topology({name!r}, settings={{"partitions": 2}})
topology.sample_data({name!r} + "-in", sample, count=2000, value=Order)
orders = topology.stream({name!r} + "-in", value=Order)
"""
RIGHT = """
def users() -> Iterator[Record[str, str]]:
    for number in range(20):
        yield Record(f"u{{number}}", f"User {{number}}", Timestamp(1_600_000_000_000))


topology.sample_data({name!r} + "-users", users, count=20, value=str)
table = topology.global_table({name!r} + "-users", value=str)
orders.join(table, lambda order, user: user, on="user").to({name!r} + "-names", value=str)
big = orders.filter(lambda order: order.amount >= 500)
big.map_values(lambda order: {{"user": order.user, "amount": order.amount}}).to({name!r} + "-big")
(
    orders.group_by("user", name="by-user")
    .aggregate(int, lambda total, order: total + order.amount, name="totals")
    .to({name!r} + "-totals", value=int)
)
"""
RANDOM = """
orders.map_values(lambda order: order.amount + random()).to({name!r} + "-out", value=float)
"""
WITH_A_PRODUCER = """
from confluent_kafka import Producer

producer = Producer({{"bootstrap.servers": {kafka!r}, "log_level": 0}})


def send(key: str, order: Order) -> None:
    producer.produce({name!r} + "-out", order.user.encode(), key.encode())
    producer.flush()


orders.peek(send).map_values(lambda order: order.user).to({name!r} + "-out", value=str)
"""


def define(folder: Path, name: str, body: str, **values: str) -> str:
    file = folder / "job.py"
    file.write_text((SAMPLE + body).format(name=name, **values))
    return str(file)


def chaos(
    folder: Path, *arguments: str, timeout: float = 280
) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "TMPDIR": str(folder)}
    return forks.run("processor.cli", "chaos", *arguments, cwd=folder, env=env, timeout=timeout)


def compared(report: Any) -> dict[str, Any]:
    return {each["name"]: each for each in report["compared"]}


@pytest.mark.kafka
def test_a_topology_that_survives(tmp_path: Path) -> None:
    file = define(tmp_path, "survives", RIGHT)
    options = ["--minutes", "0.12", "--every", "2s", "--nodes", "2", "--rate", "200", "--json"]
    faults = [word for victim in VICTIMS for word in ("--faults", victim)]
    # Two nodes of one machine can't have this port both.
    http = f"http=:{free_port()}"
    done = chaos(tmp_path, file, *options, *faults, "--seed", "11", "--set", http)
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert report["passed"]
    planned = schedule(Terms(11, 7_200, 2, kinds_of(VICTIMS), every=2_000))
    assert [each["at"] for each in report["schedule"]] == [fault.at / 1000 for fault in planned]
    # On a slow machine most victims are not back yet when the next fault is due.
    assert any(each["fault"] for each in report["happenings"])
    assert report["adoptions"] >= 2
    found = compared(report)
    assert found["survives-big"]["how"] == "every record, in order for each key"
    assert found["survives-by-user-repartition"]["found"] == report["records_in"] > 0
    assert found["survives-names"]["found"] == report["records_in"]
    assert found["totals"]["found"] == 20
    assert not list(tmp_path.glob("kproc-chaos-*")), "nothing is left behind"


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("kind", "reported"),
    [
        ("rescale-sleeper", "ends with exit code 5, as it has to"),
        pytest.param("rescale-slots", "kproc rescale --slots", marks=pytest.mark.long),
        pytest.param("delete-group", "is deleted", marks=pytest.mark.long),
        pytest.param("truncate-changelog", "are deleted", marks=pytest.mark.long),
        pytest.param("copy-folder", "ends with exit code 6, as it has to", marks=pytest.mark.long),
        pytest.param("reset-state", "kproc reset", marks=pytest.mark.long),
        pytest.param("reset-sleeper", "kproc reset", marks=pytest.mark.long),
    ],
)
def test_what_operators_do(tmp_path: Path, chance: random.Random, kind: str, reported: str) -> None:
    file = define(tmp_path, "operated", RIGHT)
    options = ["--minutes", "0.3", "--every", "4s", "--nodes", "2", "--rate", "200", "--json"]
    seed = str(chance.randrange(10**6))
    done = chaos(tmp_path, file, *options, "--faults", kind, "--seed", seed, timeout=500)
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert [each["fault"] for each in report["schedule"]] == [kind]
    assert any(reported in each["what"] for each in report["happenings"]), report["happenings"]
    found = compared(report)
    assert found["totals"]["how"] == "every record, in order for each key"
    assert found["totals"]["found"] == 20
    assert found["operated-by-user-repartition"]["found"] > 0


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(900)
@pytest.mark.parametrize("word", ["kill", "suspend"])
def test_three_brokers_of_which_one_goes(tmp_path: Path, chance: random.Random, word: str) -> None:
    file = define(tmp_path, "led", RIGHT)
    kinds = [str(kind) for kind in OF_ROLES if kind.action == word]
    faults = [part for kind in kinds for part in ("--faults", kind)]
    options = ["--minutes", "1", "--every", "4s", "--nodes", "2", "--rate", "100", "--json"]
    seed = str(chance.randrange(10**6))
    done = chaos(tmp_path, file, *options, *faults, "--brokers", "3", "--seed", seed, timeout=800)
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert any("that is broker" in each["what"] for each in report["happenings"])


@pytest.mark.kafka
@pytest.mark.parametrize("body", [RANDOM, WITH_A_PRODUCER])
def test_a_topology_that_is_wrong(body: str, kafka: str, topic_name: str, tmp_path: Path) -> None:
    file = define(tmp_path, topic_name, body, kafka=kafka)
    options = ["--bootstrap", kafka, "--set", "create_topics=true", "--minutes", "0.05"]
    done = chaos(tmp_path, file, *options, "--nodes", "1", "--rate", "100")
    assert done.returncode == 9, done.stderr + done.stdout
    assert "FAILED" in done.stdout
    assert f"{topic_name}-out" in done.stdout
    (kept,) = tmp_path.glob("kproc-chaos-*")
    assert f"are kept in {kept}" in done.stderr
    again = chaos(tmp_path, file, *options)
    assert again.returncode == 2
    assert "there are records already" in again.stderr


@pytest.mark.kafka
def test_a_topology_that_does_not_run(kafka: str, topic_name: str, tmp_path: Path) -> None:
    file = define(tmp_path, topic_name, "import sys\nif 'chaos' not in sys.argv: sys.exit(3)\n")
    done = chaos(tmp_path, file, "--bootstrap", kafka, "--set", "create_topics=true")
    assert done.returncode == 7
    assert "before there was any fault" in done.stderr
    assert "ends the process while it is loaded" in done.stderr


NO_SAMPLE = """
from processor import Topology

topology = Topology("none")
topology.stream("orders").merge(topology.stream("users")).to("out")
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there are no records for orders, users: say --input orders=FILE"),
        (["--input", "x.csv"], "the topology reads orders, users; say --input orders=FILE"),
        (["--input", "orders=x.csv"], "there is no file x.csv"),
        (["--faults", "disk"], "--faults knows no 'disk'"),
        (["--faults", "role"], "add --brokers 3"),
        (["--faults", "truncate-changelog"], "no store, and so no changelog"),
        (["--brokers", "2"], "say 1 or 3"),
        (["--faults", "broker", "--bootstrap", "127.0.0.1:1"], "is left alone"),
        (["--set", "guarantee=at-least-once"], "add --set guarantee=exactly-once"),
        (["--every", "soon"], "--every"),
    ],
)
def test_what_is_wrong_is_reported_before_anything_starts(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(NO_SAMPLE)
    done = kproc("chaos", "job.py", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_help_teaches_by_examples() -> None:
    done = kproc("chaos", "--help")
    for text in ("--input orders=orders.csv", "kill-supervisor", "Exit codes", "--seed"):
        assert text in done.stdout


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_flights_survive_for_minutes(tmp_path: Path) -> None:
    options = ["--minutes", "5", "--rate", "500", "--json"]
    done = chaos(tmp_path, str(FLIGHTS), *options, timeout=1100)
    assert done.returncode == 0, done.stderr + done.stdout


def test_global_tables_have_records_of_their_own_and_stay_as_they_are(tmp_path: Path) -> None:
    topology = Topology("app")
    airports = topology.global_table("airports")
    flights = topology.stream("flights")
    flights.join(airports, lambda one, _: one, on="to").to("out")
    with pytest.raises(UsageError, match="no records for flights, airports: say --input flights="):
        sources_of(plan(topology), [], [])
    file = tmp_path / "any.jsonl"
    file.touch()
    given = [f"airports={file}", f"flights={file}"]
    assert list(sources_of(plan(topology), [], given)) == ["airports", "flights"]
    flights.to("airports")
    with pytest.raises(UsageError, match="airports: the topology reads or writes the topic of a"):
        refuse_changing_tables(plan(topology))


REGISTERED = """
from processor import Record, SchemaRegistry, Timestamp, Topology, avro

SCHEMA = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
topology = Topology("registered")
orders = avro(SCHEMA, registry=SchemaRegistry(auto_register=True))
topology.sample_data("orders", lambda: [Record("k", {"n": 1}, Timestamp(1))], value=orders)
topology.stream("orders", value=orders).to("out")
"""


def test_sample_data_that_needs_a_schema_registry(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(REGISTERED)
    done = kproc("chaos", "job.py", folder=tmp_path)
    assert done.returncode == 2
    assert "set schema_registry.url" in done.stderr
    assert "Traceback" not in done.stderr
