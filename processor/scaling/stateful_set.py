"""Nodes as the pods of a Kubernetes StatefulSet.

Asks and sets the subresource `scale`, which is all that is needed of the API; so no client library
is. In a pod the service account says where the API is and who asks; elsewhere `kubectl proxy` does.
"""

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processor.errors import ActuatorFailed, UsageError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT: Final = 10.0
_MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Api:
    """Where the Kubernetes API is.

    Attributes:
        url: Of the server.
        namespace: That of the StatefulSet.
        account: The folder of a service account; its token is read each time, as it is renewed.
    """

    url: str
    namespace: str = "default"
    account: Path | None = None


def find_api(url: str | None, namespace: str | None, account: Path = _ACCOUNT) -> Api:
    """The API at a URL; without one that of the cluster that this process runs in.

    Raises:
        UsageError: It runs in none.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url} is no URL of a Kubernetes API, such as http://127.0.0.1:8001")
        return Api(url.rstrip("/"), namespace or "default")
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host or not (account / "token").exists():
        raise UsageError(
            "this is no pod of a Kubernetes cluster: run `kubectl proxy` and give "
            "--kubernetes-api http://127.0.0.1:8001"
        )
    host = f"[{host}]" if ":" in host else host
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Api(
        f"https://{host}:{port}", namespace or (account / "namespace").read_text().strip(), account
    )


class StatefulSet:
    """An actuator for a StatefulSet.

    Args:
        api: Where the API is.
        name: The StatefulSet's.
    """

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self._news: list[str] = []

    def count(self) -> int:
        """The replicas that are wanted.

        Raises:
            ActuatorFailed: The API does not answer, or refuses.
        """
        return int(self._ask("GET")["spec"].get("replicas", 0))

    def scale_to(self, nodes: int) -> None:
        """Sets the replicas; Kubernetes stops the newest pods, each in its grace period.

        Raises:
            ActuatorFailed: The API does not answer, or refuses.
        """
        self._ask("PATCH", {"spec": {"replicas": nodes}})
        self._news.append(f"StatefulSet {self._name} is to have {nodes} replicas")

    def turn(self) -> Iterator[str]:
        """Says what was done."""
        news, self._news = self._news, []
        yield from news

    def close(self) -> None:
        """Lets the pods run on."""

    def _ask(self, method: str, body: Any = None) -> Any:
        path = f"/apis/apps/v1/namespaces/{self._api.namespace}/statefulsets/{self._name}/scale"
        headers = {"Accept": "application/json"}
        context = None
        try:
            if (account := self._api.account) is not None:
                headers["Authorization"] = f"Bearer {(account / 'token').read_text().strip()}"
                context = ssl.create_default_context(cafile=str(account / "ca.crt"))
            request = urllib.request.Request(self._api.url + path, method=method, headers=headers)  # noqa: S310 - checked
            if body is not None:
                request.data = json.dumps(body).encode()
                request.add_header("Content-Type", _MERGE)
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as answer:  # noqa: S310 - checked
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ActuatorFailed(self._refusal(error)) from error
        except (OSError, ValueError) as error:
            raise ActuatorFailed(
                f"the Kubernetes API at {self._api.url} does not answer: {error}"
            ) from error

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        reported = f"the Kubernetes API refuses ({error.code} {error.reason})"
        if error.code == 404:  # noqa: PLR2004 - HTTP's
            return (
                f"{reported}: there is no StatefulSet {self._name} in the namespace "
                f"{self._api.namespace}; see --stateful-set and --namespace"
            )
        return (
            f"{reported}: let the service account get and patch statefulsets/scale in the "
            f"namespace {self._api.namespace}"
        )
