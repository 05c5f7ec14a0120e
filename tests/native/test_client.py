"""Clients that the extension knows, and what is said where there can be none."""

import gc
import sys
import weakref
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from processor.errors import SettingsError
from processor.native.client import made, missing, unused, uses_native

needs_plane = pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")
NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
GROUP = {**NOWHERE, "group.id": "g"}


def test_what_a_setting_means(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unused("off") == "it is turned off"
    assert not uses_native("off")
    assert uses_native("auto") is not bool(missing())
    if missing():
        with pytest.raises(SettingsError, match='native = "on", but'):
            uses_native("on")
    else:
        assert uses_native("on")


def test_where_it_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "processor.native.plane", None)
    missing.cache_clear()
    try:
        assert "C compiler" in missing()
        assert not uses_native("auto")
        with pytest.raises(SettingsError, match=r"C compiler.*native = \"auto\" does without"):
            uses_native("on")
        with pytest.raises(RuntimeError, match="C compiler"):
            made(Producer, NOWHERE)
    finally:
        missing.cache_clear()


@needs_plane
def test_a_client_goes_with_its_handle() -> None:
    first, its = made(Consumer, GROUP)
    second, other = made(Producer, NOWHERE)
    assert its.fetch(10, 0) == ([], [])
    with pytest.raises(ValueError, match="no partition 0 of"):
        other.take("topic", 0)
    its.release()
    first.close()
    for call in (lambda: its.fetch(1, 0), lambda: its.take("topic", 0)):
        with pytest.raises(RuntimeError, match="the client is closed"):
            call()
    assert other.produce("topic", 0, [b"k"], [b"v"], [1], None, 0) == (1, 0)  # type: ignore[list-item]
    second.purge()
    del second, other


@needs_plane
def test_other_settings_of_plugins_are_kept() -> None:
    with pytest.raises(Exception, match="no-such-plugin"):
        made(Producer, {**NOWHERE, "plugin.library.paths": "/no-such-plugin.so"})
    client, handle = made(Producer, NOWHERE)
    handle.release()
    del client


@needs_plane
def test_a_handle_is_of_a_client_that_was_just_made() -> None:
    from processor.native import plane  # noqa: PLC0415

    Producer(NOWHERE)
    with pytest.raises(RuntimeError, match="no client was made with this plugin"):
        plane.attach(None)
    with pytest.raises(TypeError):
        plane.Handle()


@needs_plane
@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (([b"k"], [b"v", b"w"], [1], None), ValueError),
        (([b"k"], [b"v"], [1, 2], None), ValueError),
        (([b"k"], [b"v"], [1], [(), ()]), ValueError),
        (([b"k"], [b"v"], [1], ()), ValueError),
        (((b"k",), [b"v"], [1], None), TypeError),
        ((["k"], [b"v"], [1], None), TypeError),
        (([b"k"], ["v"], [1], None), TypeError),
        (([b"k"], [b"v"], ["1"], None), TypeError),
        (([b"k"], [b"v"], [2**63], None), OverflowError),
        (([b"k"], [b"v"], [1], [7]), TypeError),
        (([b"k"], [b"v"], [1], [(7,)]), TypeError),
        (([b"k"], [b"v"], [1], [((b"name", b"v"),)]), TypeError),
        (([b"k"], [b"v"], [1], [(("name", 7),)]), TypeError),
        (([b"k"], [b"v"], [1], [(("name",),)]), TypeError),
        (([b"k"], [b"v"], [1], [(("\udcff", b"v"),)]), UnicodeEncodeError),
    ],
)
def test_what_is_no_record_is_refused(columns: Any, error: type[Exception]) -> None:
    client, handle = made(Producer, NOWHERE)
    with pytest.raises(error):
        handle.produce("topic", 0, *columns, 0)
    with pytest.raises(ValueError, match="one length"):
        handle.produce("topic", 0, [], [], [], None, -1)
    del client


@needs_plane
def test_what_can_be_asked_for_is_bounded() -> None:
    client, handle = made(Consumer, GROUP)
    for limit, timeout in ((0, 0), (-1, 0), (1_000_001, 0), (1, -1)):
        with pytest.raises(ValueError, match="1 to 1,000,000"):
            handle.fetch(limit, timeout)
    handle.release()
    client.close()


@needs_plane
def test_references_are_given_back() -> None:
    client, handle = made(Producer, NOWHERE)
    key, value, time = b"key" * 9, b"value" * 9, 1_700_000_000_000
    name, data = "header" * 9, b"data" * 9
    headers = [((name, data),)] * 100
    objects = (key, value, time, name, data, None, headers[0])
    before = list(map(sys.getrefcount, objects))
    for _ in range(20):
        columns: Any = ([key] * 100, [value] * 100, [time] * 100, headers)
        assert handle.produce("topic", 0, *columns, 0) == (100, 0)
    del columns
    after = list(map(sys.getrefcount, objects))
    # Others use None meanwhile; 2,000 records would show.
    assert all(abs(one - other) < 100 for one, other in zip(after, before, strict=True))
    client.purge()


class Owner(Consumer):
    """A client of which one can see that it is gone."""


@needs_plane
def test_clients_that_are_forgotten_are_freed() -> None:
    """Also those that hold what holds them."""
    seen: list[weakref.ref[Any]] = []

    class Around:
        def __init__(self) -> None:
            self.client, self.handle = made(Owner, GROUP)
            self.handle.fetch(1, 0)
            self.client.subscribe(["topic"], on_assign=self.assigned)

        def assigned(self, *_: Any) -> None:
            """Never called."""

    for _ in range(3):
        around = Around()
        seen.append(weakref.ref(around))
    del around
    gc.collect()
    assert [each() for each in seen] == [None] * 3
