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
        UsageError: No address is set, or it can't be asked.
    """
    text = _setting("http")
    if not text:
        raise UsageError(
            "nothing says where the node listens: set http, such as KPROC_HTTP=:8080, for it and "
            "for this command, or give --http"
        )
    return parse_address(text)


def serves_tls() -> bool:
    """Whether the node serves by TLS: the setting `http_certificate`."""
    return bool(_setting("http_certificate"))


def ask(address: Address, question: Question, *, tls: bool = False) -> Answer:
    """Asks the node.

    Args:
        address: Where it listens.
        question: What is asked.
        tls: Whether it serves by TLS. Its certificate is not looked at: it is on this machine, and
            reported nothing.
    """
    connection = _connection(address.local, tls=tls)
    try:
        connection.request("GET", f"/{question}")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return Answer(ok=False, text=f"{address} does not answer: {error}")
    finally:
        connection.close()
    return Answer(ok=answer.status == http.client.OK, text=text)


def _connection(address: Address, *, tls: bool) -> http.client.HTTPConnection:
    host, port = address
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)


def _setting(name: str) -> str:
    return os.environ.get(f"KPROC_{name.upper()}") or str(_file().get(name, ""))


def _file() -> dict[str, Any]:
    try:
        return tomllib.loads(Path("kproc.toml").read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise UsageError(f"kproc.toml can't be read: {error}") from None
