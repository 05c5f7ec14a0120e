"""Health and metrics of a real node."""

import re
import time
import urllib.request
from collections.abc import Callable

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
        where = app.await_log(node, "http", timeout=60)["address"]
        app.write((0, "k", "1"), (1, "l", "nonsense"))
        app.await_output(1, timeout=60)
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


def _await(holds: Callable[[], bool], node: NodeProcess) -> None:
    deadline = time.monotonic() + 60
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
