"""Health and metrics of a real node."""

import urllib.request

import pytest

from processor.addresses import parse_address
from processor.edges.probe import ask
from tests.integration.conftest import App

pytestmark = pytest.mark.kafka


def test_a_node_at_work(app: App) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out")
    with app.start(http=":0") as node:
        where = app.await_log(node, "http", timeout=60)["address"]
        app.write((0, "k", "1"), (1, "l", "nonsense"))
        app.await_output(1, timeout=60)
        address = parse_address(where)
        while not ask(address, "readyz").ok:
            assert node.process.poll() is None
        assert ask(address, "healthz").ok
        wanted = ('kproc_records_total{slot="0"} 2.0', 'reason="decode",')
        while not all(each in _metrics(where) for each in wanted):
            assert node.process.poll() is None
        text = _metrics(where)
        assert 'kproc_worker_state{role="primary",slot="0",state="running"} 1.0' in text
        assert 'kproc_adoption_seconds_count{reason="start"} 1.0' in text
        assert node.stop() == 0
    assert not ask(address, "healthz").ok


def _metrics(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        return answer.read().decode()
