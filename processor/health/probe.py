"""Asks a node's HTTP endpoint how it is. Imports little: containers do so every few seconds."""

import http.client
import os
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from processor.addresses import Address, parse_address
from processor.errors import UsageError

_TIMEOUT: Final = 5.0

Question = Literal["healthz", "readyz"]


class Answer(NamedTuple):
    """What the node says, or what is wrong with asking."""

    ok: bool
    text: str


def configured() -> Address:
    """Where the node listens: the setting `http` of this folder and environment.

    Raises:
        UsageError: There is none, or it is none that can be asked.
    """
    text = os.environ.get("KPROC_HTTP") or _from_file()
    if not text:
        raise UsageError(
            "nothing says where the node listens: set http, such as KPROC_HTTP=:8080, for it and "
            "for this command, or give --http"
        )
    return parse_address(text)


def ask(address: Address, question: Question) -> Answer:
    """Asks the node."""
    host, port = address.local
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"/{question}")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return Answer(ok=False, text=f"{address} does not answer: {error}")
    finally:
        connection.close()
    return Answer(ok=answer.status == http.client.OK, text=text)


def _from_file() -> str:
    try:
        values: dict[str, Any] = tomllib.loads(Path("kproc.toml").read_text())
    except FileNotFoundError:
        return ""
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise UsageError(f"kproc.toml can't be read: {error}") from None
    return str(values.get("http", ""))
