"""Views: what a step reads of a table that another keeps."""

from processor.operators.aggregates.by_key import stamped
from processor.operators.joins.views import View
from processor.operators.tables.derived import FilterTable, MapTable
from processor.serdes import json, text
from processor.state.keyvalue import StoreSpec
from tests.operators.rows import context


def test_a_view_reads_the_store_and_does_what_filters_and_maps_do() -> None:
    at = context(StoreSpec("table", text, stamped(json)))
    at.stores["table"].put("a", (20, 2))
    assert View("table").read([b"a", b"none"], [5, 5], at) == [(20, 2), None]
    even = FilterTable(lambda value: value % 2 == 0)
    view = View("table", (even, MapTable(lambda value: value - 2 or None)))
    assert [view.value(value) for value in (None, 2, 3, 4)] == [None, None, None, 2]
