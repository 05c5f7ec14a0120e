"""Which messages a .proto file declares, in its order; nothing else of it is read."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from processor.errors import TopologyError

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][\w.]*|[^\s\w]""",
    re.DOTALL,
)
_DEEPEST = 64


class Declared(NamedTuple):
    """A message, and those declared in it."""

    name: str
    nested: list["Declared"]


def declared(text: str) -> list[Declared]:
    """The messages of a file.

    A map field is a message of its own only in descriptors, after those that are declared.

    Raises:
        TopologyError: The text is not that of a file.
    """
    tokens = _tokens(text)
    found: list[Declared] = []
    for token in tokens:
        if token == "message":  # noqa: S105 - a word of the language
            found.append(_message(tokens, _DEEPEST))
        else:
            _skip(tokens, token)
    return found


def _tokens(text: str) -> Iterator[str]:
    return (match.group() for match in _TOKEN.finditer(text) if not match.group("comment"))


def _message(tokens: Iterator[str], left: int) -> Declared:
    name = next(tokens, "")
    if next(tokens, "") != "{" or not left:
        raise TopologyError("the schema is no file of Protobuf")
    nested: list[Declared] = []
    for token in tokens:
        if token == "}":  # noqa: S105 - a sign of the language
            return Declared(name, nested)
        if token == "message":  # noqa: S105 - a word of the language
            nested.append(_message(tokens, left - 1))
        else:
            _skip(tokens, token)
    raise TopologyError("the schema is no file of Protobuf")


def _skip(tokens: Iterator[str], first: str = "") -> None:
    """Goes on after a statement: its semicolon, or the end of its block."""
    depth = 0
    token = first or next(tokens, ";")
    while True:
        if token == "{":  # noqa: S105 - a sign of the language
            depth += 1
        elif token == "}":  # noqa: S105 - a sign of the language
            depth -= 1
        if depth == 0 and token in {";", "}"}:
            return
        token = next(tokens, "")
        if not token:
            return
