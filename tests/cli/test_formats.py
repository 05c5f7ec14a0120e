"""How records look."""

import json

import pytest

from processor.cli.formats import (
    OutputFormat,
    Shown,
    fields_of,
    formatter,
    header_of,
    readable,
)
from processor.records import Offset, Partition, Timestamp

RECORD = Shown(
    Timestamp(1_700_000_000_123),
    Partition(3),
    Offset(42),
    "ä".encode(),
    b'{"a":  1}',
    (("trace", b"x"), ("trace", None)),
)


def shown(record: Shown, form: OutputFormat, fields: str | None = None) -> bytes:
    chosen = fields_of(fields, form)
    return header_of(form, chosen) + formatter(form, chosen)(record)


def test_every_format() -> None:
    assert json.loads(shown(RECORD, "json")) == {
        "timestamp": 1_700_000_000_123,
        "partition": 3,
        "offset": 42,
        "key": "ä",
        "value": {"a": 1},
        "headers": [["trace", "x"], ["trace", None]],
    }
    assert shown(RECORD, "text") == 'ä\t{"a":  1}\n'.encode()
    assert shown(RECORD, "raw") == b'{"a":  1}\n'
    assert shown(RECORD, "table").decode().splitlines() == [
        "timestamp                 partition  offset      key                   value",
        '2023-11-14T22:13:20.123Z  3          42          ä                     {"a":  1}',
    ]
    assert shown(RECORD, "text", "headers,offset,timestamp") == (
        b"trace=x,trace=null\t42\t2023-11-14T22:13:20.123Z\n"
    )


@pytest.mark.parametrize("form", ["json", "text", "raw", "table"])
@pytest.mark.parametrize("data", [None, b"", b"\xff\xfe", b"\0" * 7 + b"\1", b"[" * 100_000])
def test_no_bytes_are_too_odd(form: OutputFormat, data: bytes | None) -> None:
    odd = RECORD._replace(key=data, value=data, timestamp=Timestamp(-1), headers=(("", data),))
    line = shown(odd, form, "key,value,headers,timestamp")
    assert line.endswith(b"\n")
    assert formatter("text", ("timestamp",))(odd._replace(timestamp=Timestamp(2**62)))


def test_bytes_that_are_no_text_are_shown_as_hex() -> None:
    assert readable(b"\0\0\0\0\0\0\0\x05") == "0x0000000000000005"
    assert readable(b"\xff") == "0xff"
    assert readable(b"\x1b[2Jgone") == "0x1b5b324a676f6e65"
    assert readable(b"tab\tand\nline") == "tab\tand\nline"
    assert readable(None) is None


def test_windows_are_shown_by_times_that_people_read() -> None:
    key = b'{"key":"ann","start":1700000000000,"end":1700000010001}'
    assert shown(RECORD._replace(key=key), "text", "key") == (
        b"ann 2023-11-14T22:13:20Z/2023-11-14T22:13:30.001Z\n"
    )
    assert shown(RECORD._replace(key=key), "raw", "key") == key + b"\n"
    assert json.loads(shown(RECORD._replace(key=key), "json", "key"))["key"] == key.decode()
    first = b'{"key":[1,"a"],"start":-5,"end":5}'
    assert shown(RECORD._replace(key=first), "text", "key") == (
        b'[1,"a"] 1969-12-31T23:59:59.995Z/1970-01-01T00:00:00.005Z\n'
    )
    for other in (b'{"key":1}', b'{"key":1,"start":1,"end":2,"n":1}', b'{"key":'):
        assert shown(RECORD._replace(key=other), "text", "key") == other + b"\n"


def test_a_record_stays_on_its_line() -> None:
    broken = RECORD._replace(key=b"a\tb", value=b"two\r\nlines")
    assert shown(broken, "text") == b"a\\tb\ttwo\\r\\nlines\n"
