"""A StatefulSet's size through a real HTTP server that speaks the subresource `scale`."""

import json
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from processor.errors import ActuatorFailed, UsageError
from processor.scaling.stateful_set import Api, StatefulSet, find_api

PATH = "/apis/apps/v1/namespaces/shop/statefulsets/orders/scale"


class Server(HTTPServer):
    """One StatefulSet of a namespace."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replicas = 2
        self.token: str | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if not self._is_refused():
            self._answer()

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._is_refused():
            return
        if self.headers["Content-Type"] != "application/merge-patch+json":
            self.send_error(415)
        else:
            self.server.replicas = body["spec"]["replicas"]
            self._answer()

    def _is_refused(self) -> bool:
        token = self.server.token
        if token and self.headers["Authorization"] != f"Bearer {token}":
            self.send_error(401)
        elif self.path != PATH:
            self.send_error(404)
        else:
            return False
        return True

    def _answer(self) -> None:
        scale = {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "spec": {"replicas": self.server.replicas} if self.server.replicas else {},
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(scale).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Generator[Server]:
    server = Server()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_is_counted_and_scaled(server: Server) -> None:
    orders = StatefulSet(find_api(f"{server.url}/", "shop"), "orders")
    assert orders.count() == 2
    orders.scale_to(5)
    assert server.replicas == 5
    assert orders.count() == 5
    assert list(orders.turn()) == ["StatefulSet orders is to have 5 replicas"]
    assert list(orders.turn()) == []
    orders.close()
    assert server.replicas == 5


def test_none_are_zero(server: Server) -> None:
    server.replicas = 0
    assert StatefulSet(find_api(server.url, "shop"), "orders").count() == 0


def test_there_is_no_such_set(server: Server) -> None:
    with pytest.raises(ActuatorFailed, match="no StatefulSet other in the namespace shop"):
        StatefulSet(find_api(server.url, "shop"), "other").count()


def test_who_may_not(server: Server) -> None:
    server.token = "right"
    with pytest.raises(ActuatorFailed, match=r"401.*get and patch statefulsets/scale"):
        StatefulSet(find_api(server.url, "shop"), "orders").scale_to(3)
    assert server.replicas == 2


def test_nobody_answers(server: Server) -> None:
    orders = StatefulSet(Api("http://127.0.0.1:1", "shop"), "orders")
    with pytest.raises(ActuatorFailed, match="does not answer"):
        orders.count()


def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("right\n")
    (tmp_path / "namespace").write_text("shop")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert find_api(None, None, tmp_path) == Api("https://[fd00::1]:6443", "shop", tmp_path)
    assert find_api(None, "other", tmp_path).namespace == "other"


def test_outside_of_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UsageError, match="kubectl proxy"):
        find_api(None, None)
    with pytest.raises(UsageError, match="no URL"):
        find_api("file:///etc/passwd", None)
