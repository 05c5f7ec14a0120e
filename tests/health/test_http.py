"""The endpoint over real sockets; the node's state is written by hand."""

import http.client
import re
import socket
import time
from collections.abc import Generator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor import Topology
from processor.addresses import Address
from processor.errors import SettingsError
from processor.health import http as edge
from processor.health.http import Endpoint
from processor.health.probe import Answer, ask
from processor.node.node import NodeState
from processor.topology.plan import lay_out, plan
from processor.worker.channel import CRASHED, Log, Status
from tests.cluster.topic import Topic, primary

ANYWHERE = Address("127.0.0.1", 0)


@pytest.fixture
def endpoint() -> Generator[Endpoint]:
    with closing(Endpoint(ANYWHERE, "orders")) as made:
        yield made


def node(topic: Topic) -> NodeState:
    topology = Topology("orders")
    topology.stream("in").to("out")
    layout = lay_out(plan(topology), {"in": 1})
    return NodeState(layout, time.monotonic(), node="a", view=topic.view)


def get(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(*endpoint.address, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Type"], answer.read().decode()


def metrics(endpoint: Endpoint) -> dict[str, float]:
    """All samples without their labels' names."""
    status, kind, text = get(endpoint, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_before_the_node_has_begun(endpoint: Endpoint) -> None:
    for question in ("healthz", "readyz"):
        answer = ask(endpoint.address, question)
        assert answer == Answer(ok=False, text="the node has not begun yet")
    assert metrics(endpoint) == {}


def test_alive_before_it_is_ready(endpoint: Endpoint) -> None:
    topic = Topic().says("a", primary(state="restoring"), claims={0: 1})
    endpoint.turn(node(topic))
    assert ask(endpoint.address, "healthz") == Answer(ok=True, text="ok")
    unready = ask(endpoint.address, "readyz")
    assert unready == Answer(ok=False, text="its primary of slot 0 is restoring")


def test_ready_until_it_stops(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_FRESH", 0.0)
    state = node(Topic().says("a", primary(), claims={0: 1}))
    endpoint.turn(state)
    assert ask(endpoint.address, "readyz") == Answer(ok=True, text="ok")
    state.stopping = True
    endpoint.turn(state)
    assert ask(endpoint.address, "readyz") == Answer(ok=False, text="it is stopping")
    assert ask(endpoint.address, "healthz").ok


def test_a_loop_that_hangs(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.turn(node(Topic().says("a", primary(), claims={0: 1})))
    monkeypatch.setattr(edge, "_ALIVE", -1.0)
    answer = ask(endpoint.address, "healthz")
    assert not answer.ok
    assert re.fullmatch(r"the node's loop hangs for \d+ s", answer.text)


def test_what_workers_report_is_counted(endpoint: Endpoint) -> None:
    endpoint.report(Status(0, "running", records=5, checkpoints=2))
    endpoint.report(Log(0, "warning", CRASHED, {"cause": "kill"}))
    endpoint.report(Status(0, "running", records=1))
    endpoint.report(Log(0, "info", "adopted", {"reason": "crash", "total_s": 0.3}))
    endpoint.turn(node(Topic().says("a", primary(), claims={0: 1})))
    found = metrics(endpoint)
    assert found["kproc_records_total 0"] == 6
    assert found["kproc_worker_restarts_total 0"] == 1
    assert found["kproc_adoption_seconds_sum crash"] == 0.3
    assert found["kproc_adoption_seconds_bucket 0.2 crash"] == 0
    assert found["kproc_adoption_seconds_bucket 0.5 crash"] == 1


def test_what_is_not_there(endpoint: Endpoint) -> None:
    status, _, text = get(endpoint, "/")
    assert (status, text) == (404, "there are /healthz, /readyz and /metrics\n")
    assert get(endpoint, "/metrics", "POST")[0] == 405


def test_a_client_that_says_nothing_delays_nobody(endpoint: Endpoint) -> None:
    with socket.create_connection(endpoint.address):
        assert get(endpoint, "/healthz")[0] == 503


def test_a_port_that_is_taken(endpoint: Endpoint) -> None:
    with pytest.raises(SettingsError, match=r"can't be listened on .*port of its own"):
        Endpoint(endpoint.address, "orders")


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with closing(Endpoint(Address("::", 0), "orders")) as endpoint:
        assert ask(endpoint.address, "healthz").text == "the node has not begun yet"
