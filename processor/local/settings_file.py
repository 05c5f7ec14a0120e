"""Hands settings to nodes that are started from here: as a file, wherever they come from."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from processor.layers import CLIENTS, PREFIX
from processor.settings import Settings


def write_settings(settings: Settings, file: Path) -> None:
    """Writes the settings as a `kproc.toml` that only this user can read: there may be secrets."""
    file.touch(mode=0o600)
    with file.open("w") as out:
        os.fchmod(out.fileno(), 0o600)  # it may have been there already
        out.write("".join(_toml(settings)))


def unset_environment() -> dict[str, str]:
    """The environment without settings of kproc."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _toml(settings: Settings) -> Iterable[str]:
    """A JSON text or number is one of TOML, too. What is not set is left to be chosen."""
    values = settings.model_dump(mode="json")
    for name, value in values.items():
        if name in settings.model_fields_set and value is not None and name not in CLIENTS:
            yield f"{name} = {json.dumps(value)}\n"
    for part in CLIENTS:
        yield f"[{part}]\n"
        for name, value in values[part].items():
            yield f"{json.dumps(name)} = {json.dumps(value)}\n"
