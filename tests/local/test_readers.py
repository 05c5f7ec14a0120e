"""What files become: every format, every kind of damage."""

import io
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from processor.errors import UsageError
from processor.kafka.transfer import Row
from processor.local.readers import (
    Columns,
    FileFormat,
    ValueFormat,
    count_rows,
    format_of,
    read_rows,
)


def read(
    path: Path, kind: FileFormat | None = None, columns: Columns | None = None
) -> tuple[list[Row], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []

    def note(line: int, why: str) -> None:
        bad.append((line, why))

    kind = kind or format_of(str(path))
    return list(read_rows(str(path), kind, columns or Columns(), note)), bad


def test_json_lines_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"user":"ä", "n": 1.50, "at": 1700000000000}\n\n[1, 2]\r\n')
    assert read(path) == (
        [Row(None, '{"user":"ä", "n": 1.50, "at": 1700000000000}'.encode()), Row(None, b"[1, 2]")],
        [],
    )
    rows, bad = read(path, columns=Columns("user", "at"))
    assert [(row.key, row.timestamp) for row in rows] == [("ä".encode(), 1_700_000_000_000)]
    assert bad == [(3, "it is no JSON object, so it has no columns")]


def test_bad_json_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"b": 2}\n"\xff"\n{"a": null}')
    rows, bad = read(path, columns=Columns(key="a"))
    assert [row.key for row in rows] == [b"1", None]
    assert [line for line, _ in bad] == [2, 3, 4]
    assert bad[1][1] == "there is no column 'a'; there are b"


def test_csv_columns_become_what_they_look_like(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('\ufeffid,zip,x,note\n7,00712,-1.5,"two\nlines, ""quoted"""\n8,1e5,+1,\n')
    rows, bad = read(path, columns=Columns(key="zip"))
    assert bad == []
    assert [row.key for row in rows] == [b"00712", b"1e5"]
    assert [json.loads(row.value or b"") for row in rows] == [
        {"id": 7, "zip": "00712", "x": "-1.5", "note": 'two\nlines, "quoted"'},
        {"id": 8, "zip": "1e5", "x": "+1", "note": None},
    ]


def test_a_csv_column_has_one_type(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("zip,price,n,empty\n94105,5,1,\n01234,2.50,2,\n,,,\n")
    rows, bad = read(path)
    assert bad == []
    assert [row.value for row in rows] == [
        b'{"zip":"94105","price":5.0,"n":1,"empty":null}',
        b'{"zip":"01234","price":2.5,"n":2,"empty":null}',
        b'{"zip":null,"price":null,"n":null,"empty":null}',
    ]


def test_a_csv_that_is_piped_in_has_one_type_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"zip\n94105\n01234\n")
    os.close(writing)
    with os.fdopen(reading) as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        rows = list(read_rows("-", FileFormat.CSV, Columns(), lambda *_: None))
    assert [row.value for row in rows] == [b'{"zip":"94105"}', b'{"zip":"01234"}']


def test_bad_csv_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,2\n3\n\n"x"y,4\n\xff,5\n6,7\n8,"open\n9,10\n')
    rows, bad = read(path)
    assert [json.loads(row.value or b"")["a"] for row in rows] == [1, 6]
    assert [line for line, _ in bad] == [3, 5, 6, 8]
    assert bad[0][1] == "it has 1 columns, the header 2"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,at,name,note\na,1,Ann,\na,2,,\n"),
        ("a.jsonl", '{"id":"a","at":1,"name":""}\n{"id":"a","at":2,"name":null}\n'),
    ],
)
def test_a_row_with_nothing_but_its_key_is_a_tombstone_if_asked_for(
    name: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    columns = Columns("id", "at", tombstones=True)
    rows, bad = read(path, columns=columns)
    assert bad == []
    assert [(row.key, row.value is None, row.timestamp) for row in rows] == [
        (b"a", False, 1),
        (b"a", True, 2),
    ]
    rows, _ = read(path, columns=replace(columns, tombstones=False))
    assert all(row.value is not None for row in rows)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    at = datetime(2013, 1, 1, 5, 15, tzinfo=UTC)
    frame = pl.DataFrame({"id": [1, None], "at": [at, at], "day": [date(2013, 1, 1)] * 2})
    frame.with_columns(price=pl.Series([Decimal("1.10")] * 2)).write_parquet(path)
    rows, bad = read(path, columns=Columns("id", "at"))
    assert bad == []
    assert [(row.key, row.timestamp) for row in rows] == [
        (b"1", 1357017300000),
        (None, 1357017300000),
    ]
    value = json.loads(rows[0].value or b"")
    assert value == {"id": 1, "at": "2013-01-01T05:15:00Z", "day": "2013-01-01", "price": "1.10"}
    assert read(path, columns=Columns(timestamp="day"))[0][0].timestamp == 1356998400000
    assert count_rows(str(path), FileFormat.PARQUET) == 2


def test_text_lines_are_values(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"to be\r\n\n\xff\nor not")
    rows, bad = read(path, columns=Columns(value=ValueFormat.TEXT))
    assert [row.value for row in rows] == [b"to be", b"", b"or not"]
    assert [line for line, _ in bad] == [3]
    assert read(path)[0][0].value == b'{"line":"to be"}'


def test_text_values_take_the_only_column_left(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,at,body\n007,2024-02-29T12:00:00+02:00,0.10\n")
    rows, bad = read(path, columns=Columns("id", "at", ValueFormat.TEXT))
    assert (rows, bad) == ([Row(b"007", b"0.10", rows[0].timestamp)], [])
    assert rows[0].timestamp == datetime(2024, 2, 29, 10, tzinfo=UTC).timestamp() * 1000
    _, bad = read(path, columns=Columns("id", None, ValueFormat.TEXT))
    assert "one column besides key and timestamp; there are at, body" in bad[0][1]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ('"2024-01-01"', 1704067200000),
        ('"2024-01-01T00:00:00.123Z"', 1704067200123),
        ('"1704067200000"', 1704067200000),
        ("1704067200000.9", 1704067200000),
        ("0", None),
        ('"1969-12-31"', None),
        ('"soon"', None),
        ("true", None),
        ("null", None),
        ("[]", None),
    ],
)
def test_timestamps(text: str, milliseconds: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"at": {text}}}')
    rows, bad = read(path, columns=Columns(timestamp="at"))
    assert [row.timestamp for row in rows] == ([] if milliseconds is None else [milliseconds])
    assert len(bad) == (milliseconds is None)


def test_unknown_columns_and_formats_are_said_so(tmp_path: Path) -> None:
    for name, text in (("a.csv", "id,name\n"), ("a.txt", "x")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=r"no column 'user'; there are (id, name|line)\."):
            read(tmp_path / name, columns=Columns(key="user"))
    with pytest.raises(UsageError, match="Give --format"):
        format_of("a.bin")
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "none.csv")
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(UsageError, match="can't be read"):
        read(tmp_path / "a.parquet")


def test_reads_what_is_piped_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a":1}\n')))
    assert read(Path("-"), FileFormat.JSON) == ([Row(None, b'{"a":1}')], [])


def test_empty_files_have_no_rows(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.txt"):
        (tmp_path / name).touch()
        assert read(tmp_path / name) == ([], [])
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    assert count_rows(str(tmp_path / "b.csv"), FileFormat.CSV) == 1
    assert count_rows("-", FileFormat.JSON) is None
