"""Where settings come from: a file, the environment, assignments on the command line.

Knows which of them hold a client's own settings, and not what any of them means.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings import SettingsError as SourceError

from processor.errors import SettingsError

PREFIX: Final = "KPROC_"
FILE: Final = Path("kproc.toml")
KAFKA: Final = ("kafka", "consumer", "producer")
CLIENTS: Final = (*KAFKA, "schema_registry")
"""The settings that hold those of a client: librdkafka's own, and the schema registry's."""

_UNDERSCORED: Final = {"log_level"}
"""The librdkafka settings whose names have an underscore; in variables it stands for a dot."""


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries under dotted names: TOML makes `security.protocol` a table in a table."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(cast("Mapping[str, Any]", value), f"{before}{name}.")
        else:
            yield before + name, value


def from_environment(model: type[BaseSettings]) -> Mapping[str, Any]:
    """The settings of a model that are in the environment.

    Raises:
        SettingsError: A variable is malformed.
    """
    try:
        values = EnvSettingsSource(model)()
    except SourceError:
        raise SettingsError(
            f"a variable {PREFIX}... is malformed: {', '.join(CLIENTS)} each take a JSON object, "
            f"or use variables such as {PREFIX}KAFKA__SECURITY_PROTOCOL=SSL"
        ) from None
    for part in set(CLIENTS).intersection(values):
        values[part] = {_dotted(name): value for name, value in flat(values[part])}
    return values


def _dotted(name: str) -> str:
    return name if name in _UNDERSCORED else name.replace("_", ".")


def from_file(file: Path | None) -> Mapping[str, Any]:
    """The settings of a file, which has to be there; without one those of ./kproc.toml, if it is.

    Raises:
        SettingsError: It can't be read.
    """
    path = file or FILE
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from None


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """The settings that `NAME=VALUE` texts give, such as `kafka.security.protocol=SSL`.

    Raises:
        SettingsError: One is not of that form.
    """
    found: dict[str, Any] = {}
    for number, assignment in enumerate(assignments, 1):
        name, equals, value = assignment.partition("=")
        part, dot, entry = name.strip().partition(".")
        if not equals or not part or (part in CLIENTS) != bool(dot and entry):
            # Its text is not repeated: it may hold a secret.
            raise SettingsError(
                f"--set number {number} is not NAME=VALUE, such as --set slots=4 or "
                "--set kafka.security.protocol=SSL"
            )
        if dot:
            found.setdefault(part, {})[entry] = value
        else:
            found[part] = value
    return found
