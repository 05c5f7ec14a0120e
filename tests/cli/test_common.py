"""The settings that commands have in common: options, assignments, and whose application it is."""

import json
import os
from pathlib import Path

import psutil
import pytest

from processor.cli.common import (
    effective_here,
    name_with_settings,
    redacting,
    settings_here,
)
from processor.errors import KprocError, UsageError

TOPOLOGY = """
from processor import Topology

topology = Topology("orders", settings={"slots": 3})
topology.stream("in").to("out")
"""


def test_an_option_goes_before_an_assignment_and_leaves_it_alone_where_it_is_not_given() -> None:
    sets = ["bootstrap=here:1"]
    assert settings_here(None, None, sets, bootstrap="there:2").bootstrap == "there:2"
    assert settings_here(None, None, sets, bootstrap=None).bootstrap == "here:1"


def test_an_application_is_given_by_its_topology_or_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "orders.py"
    file.write_text(TOPOLOGY)
    name, settings = name_with_settings(str(file), None, None, None)
    assert (name, settings.slots) == ("orders", 3)
    name, settings = name_with_settings(None, "orders", None, None)
    assert (name, settings.slots) == ("orders", 2)
    for both in ((None, None), (str(file), "orders")):
        with pytest.raises(UsageError, match="Give the topology's file, or --application"):
            name_with_settings(*both, None, None)


def dev_kafka(folder: Path, pid: int, created: float) -> None:
    said = folder / ".kproc/kafka/kafka.json"
    said.parent.mkdir(parents=True, exist_ok=True)
    of = {"pid": pid, "created": created, "port": 19392, "version": "4.1.0"}
    said.write_text(json.dumps(of))


def test_the_kafka_of_kproc_dev_is_found_unless_a_setting_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KPROC_BOOTSTRAP", raising=False)
    monkeypatch.chdir(tmp_path)
    assert settings_here(None, None, None).bootstrap == "127.0.0.1:9092"
    me = psutil.Process()
    dev_kafka(tmp_path, me.pid, me.create_time())
    assert settings_here(None, None, None).bootstrap == "127.0.0.1:19392"
    assert effective_here(None, None, None).origins["bootstrap"] == "kproc dev"
    assert settings_here({"bootstrap": "own:1"}, None, None).bootstrap == "own:1"
    assert settings_here(None, None, None, bootstrap="there:2").bootstrap == "there:2"
    monkeypatch.setenv("KPROC_BOOTSTRAP", "set:3")
    assert settings_here(None, None, None).bootstrap == "set:3"


def test_a_kafka_of_kproc_dev_that_has_ended_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KPROC_BOOTSTRAP", raising=False)
    monkeypatch.chdir(tmp_path)
    dev_kafka(tmp_path, os.getpid(), created=0.0)  # another process had the number
    assert settings_here(None, None, None).bootstrap == "127.0.0.1:9092"


def test_secrets_are_hidden_in_errors_that_pass() -> None:
    settings = settings_here(None, None, ["kafka.sasl.password=canary"])
    with pytest.raises(KprocError) as caught, redacting(settings):
        raise KprocError("the password canary is wrong")
    assert str(caught.value) == "the password ******** is wrong"
