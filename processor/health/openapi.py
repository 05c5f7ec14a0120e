"""What a node serves, described for tools: OpenAPI, with the schemas of the documents."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec

from processor.health.document import Application, Status

_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_REFUSED: Final = {
    "401": "The token is missing or wrong.",
    "403": "Only this machine, or who has a client certificate, may ask.",
    "421": "The host name is none of this machine.",
}
_NOT_YET: Final = "The node has not begun yet."
_LIMITS: Final = {
    "413": "The body is too long.",
    "414": "The path is too long.",
    "429": "Too many requests came from this address.",
}


def description() -> Mapping[str, Any]:
    """The OpenAPI document."""
    (status, application), schemas = msgspec.json.schema_components(
        (Status, Application), ref_template="#/components/schemas/{name}"
    )
    healthz = _path("Whether the node's loop comes round.", _TEXT, {}, is_health=True)
    readyz = _path("Whether the node has settled.", _TEXT, {}, is_health=True)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kproc node",
            "version": version("kproc"),
            "description": "What a node reports of itself and of its application. It only reads.",
        },
        "paths": {
            "/": _path("The page, for a browser.", "text/html", {}),
            "/healthz": healthz,
            "/readyz": readyz,
            "/metrics": _path("Metrics, as Prometheus reads them.", _TEXT, {}),
            "/status.json": _path("What the page shows, as of now.", _JSON, status, _NOT_YET),
            "/application.json": _path("What stays the same meanwhile.", _JSON, application),
            "/openapi.json": _path("This description.", _JSON, {"type": "object"}),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
                "certificate": {"type": "mutualTLS"},
            },
        },
        "security": [{}, {"token": []}, {"password": []}, {"certificate": []}],
    }


def _path(
    summary: str,
    kind: str,
    schema: Mapping[str, Any],
    unavailable: str = "",
    *,
    is_health: bool = False,
) -> Mapping[str, Any]:
    content = {kind: {"schema": dict(schema)} if schema else {}}
    errors = {**_LIMITS} if is_health else {**_REFUSED, **_LIMITS}
    errors |= {"503": "It is not; the text says why."} if is_health else {}
    errors |= {"503": unavailable} if unavailable else {}
    responses = {code: {"description": text} for code, text in errors.items()}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": content}, **responses},
    }
    return {"get": {**operation, "security": []} if is_health else operation}
