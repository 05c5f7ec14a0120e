"""Global tables: joins by any key, whatever the partitions, and reads in `process`."""

from collections.abc import Iterator
from typing import Any

import pytest

from processor import GlobalTable, ProcessContext, Record, Stream, Topology
from processor.errors import TopologyError
from processor.testing import TopologyDriver
from processor.topology.describe import describe
from processor.topology.plan import plan


@pytest.fixture
def app() -> Topology:
    return Topology("app")


@pytest.fixture
def airports(app: Topology) -> GlobalTable[str, str]:
    return app.global_table("airports", value=str)


@pytest.fixture
def flights(app: Topology) -> Stream[int, Any]:
    return app.stream("flights", key=int)


def test_a_record_is_joined_by_a_key_of_its_own_making(
    app: Topology, airports: GlobalTable[str, str], flights: Stream[int, Any]
) -> None:
    flights.join(airports, lambda flight, name: [flight["no"], name], on="to").to("inner")
    flights.left_join(
        airports, lambda flight, name: [flight["no"], name], on=lambda _, flight: flight["to"]
    ).to("left")
    driver = TopologyDriver(app, partitions=3)
    driver.pipe("airports", key="ham", value="Hamburg")
    driver.pipe("airports", key="muc", value="Munich")
    for number, to in enumerate(["ham", "muc", "nowhere", None, "ham"]):
        driver.pipe("flights", key=number, value={"no": number, "to": to})
    driver.pipe("flights", key=9, value=None)
    assert sorted(driver.read("inner")) == [
        (0, [0, "Hamburg"]),
        (1, [1, "Munich"]),
        (4, [4, "Hamburg"]),
    ]
    assert [value for _, value in sorted(driver.read("left"))][2:4] == [[2, None], [3, None]]
    assert driver.store("airports-global") == {"ham": "Hamburg", "muc": "Munich"}


def test_a_table_changes_while_records_pass_and_stays_after_a_restart(
    app: Topology, airports: GlobalTable[str, str], flights: Stream[int, Any]
) -> None:
    flights.join(airports, lambda _, name: name, on="to").to("out")
    driver = TopologyDriver(app)
    driver.pipe("airports", key="ham", value="Hamburg")
    driver.pipe("flights", key=1, value={"to": "ham"})
    driver.pipe("airports", key="ham", value="Hamburg Airport")
    driver.pipe("flights", key=2, value={"to": "ham"})
    driver.restart()
    driver.pipe("flights", key=3, value={"to": "ham"})
    driver.pipe("airports", key="ham", value=None)
    driver.pipe("flights", key=4, value={"to": "ham"})
    assert driver.read("out") == [(1, "Hamburg"), (2, "Hamburg Airport"), (3, "Hamburg Airport")]


def test_a_process_step_reads_global_tables(
    app: Topology, airports: GlobalTable[str, str], flights: Stream[int, Any]
) -> None:
    def look(record: Record[int, Any], context: ProcessContext) -> Iterator[Record[int, Any]]:
        table = context.table(airports)
        known = [
            table.get("ham"),
            table.get("x", "?"),
            table.get_many(["muc", "y"]),
            "muc" in table,
        ]
        yield record._replace(value=[*known, list(table.items()), list(table.items("i"))])

    flights.process(look).to("out")
    driver = TopologyDriver(app)
    driver.pipe("airports", key="ham", value="Hamburg")
    driver.pipe("airports", key="muc", value="Munich")
    driver.pipe("flights", key=1, value={})
    ham, muc = ["ham", "Hamburg"], ["muc", "Munich"]
    assert driver.read("out") == [(1, ["Hamburg", "?", ["Munich", None], True, [ham, muc], [muc]])]


def test_a_bad_key_makes_the_record_bad(
    app: Topology, airports: GlobalTable[str, str], flights: Stream[int, Any]
) -> None:
    flights.join(airports, lambda _, name: name, on="to").to("out")
    driver = TopologyDriver(app)
    driver.pipe("flights", key=1, value={"to": 5})
    driver.pipe("flights", key=1, value={})
    assert len(driver.dead_letters()) == 2
    assert driver.bad_records == {("join-global-1", "function"): 2}


def test_what_does_not_fit_is_refused(app: Topology, airports: GlobalTable[str, str]) -> None:
    with pytest.raises(TopologyError, match="as a global table or as a stream"):
        app.stream("airports")
    with pytest.raises(TopologyError, match="as a global table or as a stream"):
        app.global_table("airports")
    with pytest.raises(TopologyError, match="belongs to global table of airports already"):
        app.table("in", name="airports-global")
    with pytest.raises(TopologyError, match="different topology"):
        Topology("other").stream("in").join(airports, lambda one, _: one, on="to")


def test_a_plan_names_global_tables(
    app: Topology, airports: GlobalTable[str, str], flights: Stream[int, Any]
) -> None:
    flights.join(airports, lambda _, name: name, on="to").to("out")
    made = plan(app)
    assert made.tables == ("airports",)
    assert made.inputs == ("flights",)
    assert "Global tables\n  airports  [airports-global], text → text\n" in describe(made)
