"""Health and metrics of a real node."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest

from processor.addresses import parse_address
from processor.health.probe import ask
from tests.integration.conftest import App
from tests.integration.node_process import NodeProcess

pytestmark = pytest.mark.kafka


def test_a_node_at_work(app: App) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    with app.start(http=":0") as node:
        where = app.await_log(node, "http")["address"]
        app.write((0, "k", "1"), (1, "l", "nonsense"))
        app.await_output(1)
        address = parse_address(where)
        _await(lambda: ask(address, "readyz").ok, node)
        assert ask(address, "healthz").ok
        _await(lambda: _records(where) >= 2, node)  # what was aborted and done again counts again
        _await(lambda: 'reason="decode",' in _metrics(where), node)
        text = _metrics(where)
        assert 'kproc_worker_state{role="primary",slot="0",state="running"} 1.0' in text
        assert 'kproc_adoption_seconds_count{reason="start"} 1.0' in text
        assert node.stop() == 0
    assert not ask(address, "healthz").ok


def test_its_page(app: App) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    app.write(*((n % 2, f"k{n % 2}", "1") for n in range(100)), (1, "l", "nonsense"))
    with app.start(http=":0", **{"kafka.client.id": "canary"}) as node:
        where = app.await_log(node, "http")["page"]
        _await(lambda: bool(_status(where)["bad_records"]), node)
        _await(lambda: _status(where)["workers"][0]["checkpoint_seconds"] is not None, node)
        _await(lambda: all(each["lag"] == 0 for each in _status(where)["topics"]), node)
        found = _status(where)
        assert [each["topic"] for each in found["topics"]] == [app.input]
        assert "counts" in {each["step"] for each in found["steps"]}
        assert found["bad_records"][0]["reason"] == "decode"
        assert found["healthy"]
        assert [each["kind"] for each in found["events"]].count("adoption") == 1
        settings = {each["name"]: each for each in _json(f"{where}application.json")["settings"]}
        assert settings["kafka.client.id"]["value"] == "canary"
        assert settings["kafka.client.id"]["origin"] == "command line"
        assert node.stop() == 0


def _status(page: str) -> Any:
    return _json(f"{page}status.json")


def _json(url: str) -> Any:
    """A document; before the node has begun one that is empty."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return {"bad_records": []}


def _await(holds: Callable[[], bool], node: NodeProcess) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert node.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _records(address: str) -> float:
    found = re.search(r'^kproc_records_total\{slot="0"\} (\S+)$', _metrics(address), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        return answer.read().decode()
