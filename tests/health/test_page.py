"""The page over real sockets: its files, its documents and their schemas, what it must not show."""

import http.client
import json
import re
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from processor import Topology
from processor.addresses import Address
from processor.cluster.beats import Replica
from processor.health import http as edge
from processor.health.http import OPEN, Endpoint
from processor.health.site import Site
from processor.health.stores import Stores
from processor.node.node import NodeState
from processor.settings import load
from processor.topology.plan import Plan, lay_out, plan
from processor.worker.channel import (
    CRASHED,
    BadRecords,
    Lateness,
    Log,
    Reading,
    RestoreStatus,
    Spent,
    Status,
)
from tests.cluster.topic import Topic, backup, primary

CANARY = "canary-7f3a"
FOLDER = Path("processor/health/page")
HOSTILE = "<img src=x onerror=alert(1)>\"'&</script>"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_FRESH", 0.0)


FILES = {"/page.css", "/page.js", "/icon.svg"}


def made_plan() -> Plan:
    def keep(_number: int) -> bool:
        return True

    keep.__name__ = HOSTILE
    topology = Topology("orders")
    numbers = topology.stream("in", value=int).filter(keep, name="keep")
    numbers.group_by(str).count(name="counts").to("out")
    return plan(topology)


@pytest.fixture
def endpoint() -> Generator[Endpoint]:
    settings = {"kafka": {"sasl.password": CANARY, "ssl.ca.location": "/ca.pem"}, "slots": 2}
    site = Site(made_plan(), load(settings))
    stores = Stores(made_plan(), {})
    with closing(Endpoint(Address("127.0.0.1", 0), "orders", OPEN, site, stores)) as made:
        yield made


def state(topic: Topic) -> NodeState:
    layout = lay_out(made_plan(), {"in": 1})
    return NodeState(layout, time.monotonic(), node="a", view=topic.view)


def get(endpoint: Endpoint, path: str) -> tuple[http.client.HTTPResponse, str]:
    with closing(http.client.HTTPConnection(*endpoint.address, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read().decode()


def document(endpoint: Endpoint, name: str = "status") -> Any:
    answer, text = get(endpoint, f"/{name}.json")
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "application/json"
    return json.loads(text)


def at_work(endpoint: Endpoint) -> None:
    """Reports to the endpoint of a node everything that there can be."""
    endpoint.report(
        Status(
            0,
            "running",
            records=100,
            spent=Spent(busy=1.0, commits=0.1, steps={"keep": 0.5, "counts": 0.25}),
            checkpoints=4,
            lag=7,
            bad_records=(BadRecords(HOSTILE, "decode", 3), BadRecords("counts", "late", 5)),
            late={"counts": Lateness(100, 5, 1)},
            topics={"in": Reading(100, 7), "orders-x-repartition": Reading(0, None)},
        )
    )
    restore = RestoreStatus(1, 5, 10, 100, 2.0)
    endpoint.report(Status(1, "restoring", role="backup", lag=5, restore=restore))
    cause = f"Traceback\n  {CANARY}\nValueError: {HOSTILE}"
    endpoint.report(Log(0, "warning", CRASHED, {"cause": cause, "restart": 1}))
    endpoint.report(Log(None, "warning", "brokers", {"text": "older than 3.6"}))
    topic = Topic(slots=2).says("a", primary(), backup(1, "restoring", 5), claims={0: 1})
    topic.says("b", Replica(1, "primary", "stuck", stuck=HOSTILE, turn_age=70.0), claims={1: 1})
    endpoint.turn(state(topic))


def test_before_the_node_has_begun(endpoint: Endpoint) -> None:
    answer, text = get(endpoint, "/status.json")
    assert (answer.status, text) == (503, "the node has not begun yet\n")
    assert get(endpoint, "/")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/icon.svg"])
def test_files_need_nobody_else(endpoint: Endpoint, path: str) -> None:
    answer, text = get(endpoint, path)
    assert answer.status == 200
    policy = answer.getheader("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'self';")
    elsewhere = re.findall(r"https?://[^\"'\s]+", text)
    assert set(elsewhere) <= {"http://www.w3.org/2000/svg"}, "a name, which is not fetched"


def test_the_page_keeps_to_its_own_policy() -> None:
    """Neither scripts nor styles within the markup, and no text that becomes markup."""
    markup, script = (FOLDER / "index.html").read_text(), (FOLDER / "page.js").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", markup)
    risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser"
    assert not re.search(risky, script)


def test_an_error_says_what_there_is(endpoint: Endpoint) -> None:
    answer, text = get(endpoint, "/nothing")
    assert answer.status == 404
    described = document(endpoint, "openapi")["paths"]
    named = re.findall(r"/[\w.]*", text)
    assert {path for path in described if "{" not in path} | FILES == set(named)


@pytest.mark.parametrize("name", ["status", "application"])
def test_documents_fit_their_schemas(endpoint: Endpoint, name: str) -> None:
    at_work(endpoint)
    openapi = document(endpoint, "openapi")
    content = openapi["paths"][f"/{name}.json"]["get"]["responses"]["200"]["content"]
    schema = {**content["application/json"]["schema"], "components": openapi["components"]}
    found = document(endpoint, name)
    jsonschema.Draft202012Validator(schema).validate(found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**found, "application": 5})
    assert openapi["openapi"].startswith("3.1")


def test_a_node_at_work(endpoint: Endpoint) -> None:
    at_work(endpoint)
    found = document(endpoint)
    assert (found["application"], found["node"], found["healthy"]) == ("orders", "a", False)
    assert found["totals"]["bad_records"] == 8
    assert found["totals"]["late_records"] == 5
    assert found["topics"] == [
        {"topic": "in", "records_per_second": 0.0, "lag": 7},
        {"topic": "orders-x-repartition", "records_per_second": 0.0, "lag": None},
    ]
    assert [each["step"] for each in found["steps"]] == ["counts", "keep"]
    assert found["bad_records"] == [
        {"step": "counts", "reason": "late", "records": 5},
        {"step": HOSTILE, "reason": "decode", "records": 3},
    ]
    assert found["late_records"] == [{"step": "counts", "judged": 100, "late": 5, "partly": 1}]
    assert [each["role"] for each in found["workers"]] == ["primary", "backup"]
    assert found["workers"][1]["restore"]["total"] == 10
    first, *others = found["problems"]
    assert first["level"] == "error"
    assert first["advice"].startswith(f"Slot 1 is stuck for 70.0 s in {HOSTILE}. It goes on when")
    whats = [each["what"] for each in others]
    assert whats == [
        "Slot 0: worker ended",
        "Brokers",
        f"3 records could not be processed at {HOSTILE}: decode",
        "5 of 100 records came late to counts",
    ]


def test_no_secret_is_shown(endpoint: Endpoint) -> None:
    at_work(endpoint)
    settings = {each["name"]: each for each in document(endpoint, "application")["settings"]}
    assert settings["kafka.sasl.password"]["value"] == "********"
    assert settings["kafka.ssl.ca.location"]["value"] == "/ca.pem"
    assert settings["slots"] == {
        "name": "slots",
        "value": "2",
        "origin": "command line",
        "description": settings["slots"]["description"],
    }
    for path in document(endpoint, "openapi")["paths"]:
        assert CANARY not in get(endpoint, path)[1]


def test_each_figure_has_its_place_in_the_drawing(endpoint: Endpoint) -> None:
    drawing = document(endpoint, "application")["drawing"]
    boxes = drawing["boxes"]
    assert {each["topic"] for each in boxes} >= {"in", "out"}
    assert {each["step"] for each in boxes} >= {"keep", "counts"}
    for each in boxes:
        assert 0 <= each["x"] <= each["x"] + each["width"] <= drawing["width"]
        assert 0 <= each["y"] <= each["y"] + each["height"] <= drawing["height"]
