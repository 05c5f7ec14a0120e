"""What is secret in settings, and how it is hidden wherever they are shown."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

HIDDEN: Final = "********"

_SECRET_WORDS: Final = (
    *("pass", "secret", "token", "key.pem", "jaas", "private", "credential", "oauthbearer.config"),
    "user.info",  # of a schema registry: name and password
)
_URL_SECRET: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def shown(name: str, value: Any) -> Any:
    """A setting's value as it may be shown: hidden by its name, or within a URL."""
    if _is_secret(name) and value != "":
        return HIDDEN
    return _URL_SECRET.sub(HIDDEN, value) if isinstance(value, str) else value


def secrets(name: str, value: Any) -> Iterator[str]:
    """What is secret in a setting's value."""
    if _is_secret(name):
        yield from filter(None, (str(value), str(value).strip()))
    yield from _URL_SECRET.findall(str(value))


def without(found: Iterable[str], text: str) -> str:
    """A text without these secrets."""
    for secret in sorted(set(found), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)
