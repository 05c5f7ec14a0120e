"""What a node serves, described for tools: OpenAPI, with the schemas of the documents."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from processor.health import answers
from processor.health.document import Application, Status

_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_PACKED: Final = "application/msgpack"
_REFUSED: Final = {
    "401": "The token is missing or wrong.",
    "403": "Only this machine, or who has a client certificate, may ask.",
    "421": "The host name is not one of this machine.",
}
_NOT_YET: Final = "The node has not begun yet."
_LIMITS: Final = {
    "413": "The body is too long.",
    "414": "The path is too long.",
    "429": "Too many requests came from this address.",
}


def description() -> Mapping[str, Any]:
    """The OpenAPI document."""
    (status, application, *queried), schemas = msgspec.json.schema_components(
        (Status, Application, *answers.SCHEMAS), ref_template="#/components/schemas/{name}"
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
            **_queries(*queried),
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


_FAILURES: Final = {
    "400": "The question is malformed; the text says how.",
    "404": "There is no such store, or no such key.",
    "413": "So much is not answered at once.",
    "500": "The store has something that has none of the topology's types.",
    "502": "The node that has it can't be asked.",
    "503": "Nobody can answer now, such as while a slot moves; Retry-After says when to try again.",
}
_TEXTS: Final[Mapping[str, str]] = {
    "NAME": "The store's name.",
    "KEY": "A key: text as it is, any other key as JSON.",
    "SLOT": "The slot's number.",
    "key": "A key to look up; may be given several times. Then nothing else is.",
    "from": "The first key; of windows a time, in milliseconds or ISO 8601: those that end later.",
    "to": "The key before which to end; of windows a time: those that begin before it.",
    "limit": "Entries of a page, 1 to 1000; 100 by default.",
    "after": "What `next` was in the page before.",
    "stale": "`ok`: a backup may answer where there is no primary; the answer says how far behind.",
}


def _queries(*schemas: Any) -> Mapping[str, Any]:
    """The paths of stores."""
    stores, entry, entries, counted, failed = schemas
    entry_or_page = {"oneOf": [entry, entries]}
    page = ("from", "to", "limit", "after", "stale")
    packed = "A question, and its answer, in msgpack, with keys and values as they lie there."
    return {
        "/stores": _query("The stores that can be asked.", stores, failed, (), ()),
        "/stores/{NAME}": {
            **_query(
                "Entries of a store: a page, or those of keys.",
                entries,
                failed,
                ("NAME",),
                ("key", *page),
            ),
            **_packed(packed, ("NAME",)),
        },
        "/stores/{NAME}/count": _query(
            "How many keys there are.", counted, failed, ("NAME",), ("stale",)
        ),
        "/stores/{NAME}/{KEY}": _query(
            "The value of a key; of windows a page of those that it has.",
            entry_or_page,
            failed,
            ("NAME", "KEY"),
            page,
        ),
        "/slots/{SLOT}": _packed(f"For other nodes. {packed}", ("SLOT",)),
    }


def _query(
    summary: str, schema: Any, failed: Any, path: Sequence[str], given: Sequence[str]
) -> Mapping[str, Any]:
    failure = {_JSON: {"schema": dict(failed)}}
    errors = {code: {"description": text, "content": failure} for code, text in _FAILURES.items()}
    made = dict(_path(summary, _JSON, schema)["get"])
    made["responses"] = {**made["responses"], **errors}
    made["parameters"] = _parameters(path, given)
    return {"get": made}


def _packed(summary: str, path: Sequence[str]) -> Mapping[str, Any]:
    made = dict(_path(summary, _PACKED, {})["get"])
    made["parameters"] = _parameters(path, ())
    made["requestBody"] = {"required": True, "content": {_PACKED: {}}}
    return {"post": made}


def _parameters(path: Sequence[str], given: Sequence[str]) -> list[Mapping[str, Any]]:
    def parameter(name: str, place: str) -> Mapping[str, Any]:
        text, schema = _TEXTS[name], {"type": "string"}
        required = {"required": True} if place == "path" else {}
        return {"name": name, "in": place, "description": text, "schema": schema, **required}

    return [
        *(parameter(name, "path") for name in path),
        *(parameter(name, "query") for name in given),
    ]
