"""`kproc produce` and `kproc consume` as a user runs them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from typer.testing import CliRunner, Result

from processor.cli.transfer import consume, produce
from processor.errors import (
    BadRecordError,
    BrokerUnreachable,
    SettingsError,
    TopicMismatch,
    UsageError,
)

pytestmark = pytest.mark.kafka
MakeTopic = Callable[..., str]
Run = Callable[..., Result]

app = typer.Typer()
app.command()(produce)
app.command()(consume)


@pytest.fixture
def run(kafka: str) -> Run:
    def call(*arguments: object, data: str | None = None) -> Result:
        words = [str(each) for each in arguments]
        result = CliRunner(env={"KPROC_BOOTSTRAP": kafka}).invoke(app, words, input=data)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def consumed(run: Run, topic: str, *options: str) -> list[dict[str, object]]:
    output = run("consume", topic, "--until-end", "--format", "json", *options).stdout
    return [json.loads(line) for line in output.splitlines()]


def test_a_csv_goes_in_and_comes_out(run: Run, topic_name: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("user,amount,at\nann,5,2013-01-01\nbob,,2013-01-02\n")
    options = ("--create", "--partitions", 1, "--key", "user", "--timestamp", "at")
    result = run("produce", file, "--topic", topic_name, *options)
    assert result.exit_code == 0
    assert f"2 records to {topic_name}" in result.stderr
    assert result.stdout == ""
    value = {"user": "ann", "amount": 5, "at": "2013-01-01"}
    first = {"timestamp": 1356998400000, "partition": 0, "offset": 0, "key": "ann", "value": value}
    records = consumed(run, topic_name)
    assert records[0] == {**first, "headers": []}
    assert [record["key"] for record in records] == ["ann", "bob"]


def test_a_compacted_topic_with_tombstones(
    run: Run, kafka: str, topic_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "users.csv"
    file.write_text("id,name\nann,Ann\nbob,\nann,\n")
    options = ("--topic", topic_name, "--key", "id", "--create", "--compact", "--tombstones")
    made = run("produce", file, *options)
    assert "was there already" not in made.stderr
    values = {"ann": [{"id": "ann", "name": "Ann"}, None], "bob": [None]}
    for key, expected in values.items():
        found = consumed(run, topic_name, "--key", key, "--fields", "value")
        assert [record["value"] for record in found] == expected
    resource = ConfigResource(ResourceType.TOPIC, topic_name)
    admin: Any = AdminClient({"bootstrap.servers": kafka})
    settings = admin.describe_configs([resource])[resource].result(30)
    assert settings["cleanup.policy"].value == "compact"
    assert f"{topic_name} was there already" in run("produce", file, *options).stderr


def test_pipes_parquet_and_text(run: Run, make_topic: MakeTopic, tmp_path: Path) -> None:
    topic = make_topic()
    run("produce", "-", "-t", topic, "--format", "json", data='{"a": 1}\n{"a": 2}\n')
    pl.DataFrame({"a": [3]}).write_parquet(tmp_path / "a.parquet")
    run("produce", tmp_path / "a.parquet", "-t", topic, "--rate", 1000)
    (tmp_path / "a.txt").write_text("to be\n")
    run("produce", tmp_path / "a.txt", "-t", topic)
    values = [record["value"] for record in consumed(run, topic, "--fields", "value")]
    assert values == [{"a": 1}, {"a": 2}, {"a": 3}, "to be"]


def test_bad_lines_stop_it_or_are_counted(run: Run, make_topic: MakeTopic, tmp_path: Path) -> None:
    topic = make_topic()
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(BadRecordError, match=r"a\.jsonl, line 2: .*malformed") as error:
        run("produce", file, "-t", topic)
    assert error.value.exit_code == 4
    assert len(consumed(run, topic)) == 1
    result = run("produce", file, "-t", topic, "--on-error", "skip")
    assert "a.jsonl, line 2" in result.stderr
    assert result.stderr.endswith("skipped 1 bad line\n")
    assert len(consumed(run, topic)) == 3


def test_what_is_wrong_is_said_so(run: Run, topic_name: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id,name\n1,x\n")
    with pytest.raises(TopicMismatch, match=f"'{topic_name}'; create it .* --create does that"):
        run("produce", file, "-t", topic_name)
    with pytest.raises(TopicMismatch, match=topic_name):
        run("consume", topic_name)
    with pytest.raises(UsageError, match="there are id, name"):
        run("produce", file, "-t", topic_name, "--create", "--key", "user")
    with pytest.raises(UsageError, match="--rate"):
        run("produce", file, "-t", topic_name, "--rate", "0")
    with pytest.raises(UsageError, match="--create"):
        run("produce", file, "-t", topic_name, "--compact", "--key", "id")
    for option in ("--compact", "--tombstones"):
        with pytest.raises(UsageError, match="--key"):
            run("produce", file, "-t", topic_name, "--create", option)
    with pytest.raises(UsageError, match="NAME=VALUE"):
        run("consume", topic_name, "-X", "oops")
    with pytest.raises(UsageError, match=r"--fields knows timestamp, .*'colour'"):
        run("consume", topic_name, "--fields", "key,colour")
    with pytest.raises(BrokerUnreachable):
        run("consume", topic_name, "--bootstrap", "127.0.0.1:1")


def test_filters(run: Run, make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2)
    lines = "".join(f'{{"k": "k{each % 5}", "n": {each}}}\n' for each in range(100))
    run("produce", "-", "-t", topic, "--format", "json", "--key", "k", data=lines)
    picked = consumed(run, topic, "--key", "k3", "--max", "7")
    assert [record["key"] for record in picked] == ["k3"] * 7
    assert {record["partition"] for record in consumed(run, topic, "--partition", "1")} == {1}
    assert consumed(run, topic, "--latest") == []


def test_shows_committed_records_only_and_ends_behind_markers(
    run: Run, kafka: str, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(30)
    for value in (b"committed", b"aborted"):
        producer.begin_transaction()
        producer.produce(topic, value, headers=[("h", b"\xff"), ("h", None)])
        producer.flush()
        (producer.abort_transaction if value == b"aborted" else producer.commit_transaction)(10)
    output = run("consume", topic, "--until-end", "--fields", "value,headers").stdout
    assert output == "committed\th=0xff,h=null\n"


@pytest.mark.parametrize("size", [1, 20_000])
def test_a_reader_that_leaves_ends_it_quietly(
    size: int, run: Run, kafka: str, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    run("produce", "-", "-t", topic, "--format", "text", data="some text\n" * size)
    script = "import typer; from processor.cli.transfer import consume; typer.run(consume)"
    command = f"{sys.executable} -c '{script}' {topic} --until-end | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={"KPROC_BOOTSTRAP": kafka, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"null\tsome text\n", b"")


def test_settings_are_those_of_the_other_commands(
    kafka: str, make_topic: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KPROC_BOOTSTRAP", raising=False)
    topic = make_topic()
    (tmp_path / "kproc.toml").write_text(f'bootstrap = "{kafka}"\n')
    (tmp_path / "a.txt").write_text("to be\n")
    assert CliRunner().invoke(app, ["produce", "a.txt", "-t", topic]).exit_code == 0
    found = CliRunner().invoke(app, ["consume", topic, "--until-end", "--fields", "value"])
    assert found.stdout == "to be\n"
    for wrong in (["--set", "kafka.nonsense=1"], ["-X", "nonsense=1"]):
        with pytest.raises(SettingsError, match="nonsense"):
            CliRunner().invoke(app, ["consume", topic, *wrong], catch_exceptions=False)
