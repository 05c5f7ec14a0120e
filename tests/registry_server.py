"""A small schema registry over HTTP, for tests: subjects, versions, ids, compatibility.

It follows the REST API that Confluent documents, as far as clients use it, and judges Avro's
compatibility with fastavro. It is no part of kproc.
"""

import io
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.utils import generate_one
from flask import Flask, request
from werkzeug.serving import make_server


@dataclass
class RegistryServer:
    """What it holds, and how it behaves.

    Attributes:
        url: Where it is.
        level: The compatibility that subjects have if they have no own.
        fail: A status to answer everything with; None: none.
        user: What it demands, `USER:PASSWORD`.
        asked: The paths that were asked for.
    """

    url: str = ""
    level: str = "BACKWARD"
    fail: int | None = None
    user: str | None = None
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def register(self, subject: str, schema: Any, kind: str = "AVRO") -> int:
        """Registers without asking for compatibility."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return self._add(subject, {"schema": text, "schemaType": kind, "references": []})

    def _add(self, subject: str, entry: dict[str, Any]) -> int:
        known = (number for number, each in self.schemas.items() if _same(each, entry))
        schema_id = next(known, len(self.schemas) + 1)
        self.schemas[schema_id] = entry
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def _compatible(self, subject: str, entry: dict[str, Any]) -> bool:
        level = self.levels.get(subject, self.level)
        ids = self.subjects.get(subject, [])
        others = [self.schemas[each] for each in (ids if "TRANSITIVE" in level else ids[-1:])]
        return all(_fits(level, entry, other) for other in others)

    def _described(self, subject: str, version: int) -> dict[str, Any]:
        schema_id = self.subjects[subject][version - 1]
        shown = self.schemas[schema_id]
        return {"subject": subject, "version": version, "id": schema_id, **shown}

    def app(self) -> Flask:
        """The HTTP side."""
        app = Flask("registry")
        app.before_request(self._guard)
        rules: list[tuple[str, str, Any]] = [
            ("GET", "/subjects", lambda: sorted(self.subjects)),
            ("GET", "/subjects/<subject>/versions", self._versions),
            ("GET", "/subjects/<subject>/versions/<version>", self._version),
            ("POST", "/subjects/<subject>/versions", self._post),
            ("POST", "/subjects/<subject>", self._lookup),
            ("GET", "/schemas/ids/<int:schema_id>", self._by_id),
            ("POST", "/compatibility/subjects/<subject>/versions/<version>", self._check),
            ("GET", "/config", lambda: {"compatibilityLevel": self.level}),
            ("GET", "/config/<subject>", self._config),
        ]
        for number, (method, rule, view) in enumerate(rules):
            app.add_url_rule(rule, f"rule-{number}", view, methods=[method])
        return app

    def _guard(self) -> Any:
        self.asked.append(request.path)
        if self.fail is not None:
            return _error(self.fail, self.fail * 100 + 1, "it fails")
        given = request.authorization
        if self.user and (given is None or f"{given.username}:{given.password}" != self.user):
            return _error(401, 40101, "Unauthorized")
        return None

    def _versions(self, subject: str) -> Any:
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        return [number + 1 for number, _ in enumerate(self.subjects[subject])]

    def _version(self, subject: str, version: str) -> Any:
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        number = len(self.subjects[subject]) if version == "latest" else int(version)
        if not 0 < number <= len(self.subjects[subject]):
            return _error(404, 40402, f"Version {version} not found.")
        return self._described(subject, number)

    def _post(self, subject: str) -> Any:
        entry = _entry()
        if entry["schemaType"] == "AVRO":
            try:
                parse_schema(json.loads(entry["schema"]), named_schemas={})
            except Exception as error:  # noqa: BLE001
                return _error(422, 42201, f"Invalid schema: {error}")
        if not self._compatible(subject, entry):
            text = f"Schema being registered is incompatible with an earlier one of {subject}"
            return _error(409, 409, text)
        return {"id": self._add(subject, entry)}

    def _lookup(self, subject: str) -> Any:
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        entry = _entry()
        for version, schema_id in enumerate(self.subjects[subject], 1):
            if _same(self.schemas[schema_id], entry):
                return self._described(subject, version)
        return _error(404, 40403, "Schema not found")

    def _by_id(self, schema_id: int) -> Any:
        if schema_id not in self.schemas:
            return _error(404, 40403, f"Schema {schema_id} not found")
        return self.schemas[schema_id]

    def _check(self, subject: str, version: str) -> Any:
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        return {"is_compatible": self._compatible(subject, _entry())}

    def _config(self, subject: str) -> Any:
        if subject not in self.levels:
            return _error(404, 40408, f"Subject '{subject}' does not have a configuration")
        return {"compatibilityLevel": self.levels[subject]}


def _entry() -> dict[str, Any]:
    body = request.get_json(force=True)
    return {
        "schema": body["schema"],
        "schemaType": body.get("schemaType") or "AVRO",
        "references": body.get("references") or [],
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two schemas are equal but for spaces."""
    if one["schemaType"] == other["schemaType"] != "PROTOBUF":
        return json.loads(one["schema"]) == json.loads(other["schema"])
    return one == other


def _error(status: int, code: int, message: str) -> Any:
    return {"error_code": code, "message": message}, status


def _fits(level: str, new: dict[str, Any], old: dict[str, Any]) -> bool:
    if level == "NONE" or new["schemaType"] != "AVRO" or old["schemaType"] != "AVRO":
        return True
    ours, theirs = json.loads(new["schema"]), json.loads(old["schema"])
    backward = level.startswith("FORWARD") or _reads(ours, theirs)
    forward = level.startswith("BACKWARD") or _reads(theirs, ours)
    return backward and forward


def _reads(reader: Any, writer: Any) -> bool:
    """Whether some data of the one can be read with the other."""
    out = io.BytesIO()
    schemaless_writer(out, writer, generate_one(writer))
    try:
        schemaless_reader(io.BytesIO(out.getvalue()), writer, reader)
    except SchemaResolutionError:
        return False
    return True


@contextmanager
def registry_server(ssl_context: Any = None) -> Generator[RegistryServer]:
    """A registry that runs for a while."""
    registry = RegistryServer()
    server = make_server("127.0.0.1", 0, registry.app(), threaded=True, ssl_context=ssl_context)
    scheme = "https" if ssl_context else "http"
    registry.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
