"""Every row is called once, in order, whatever its neighbours do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.attempt import Fault, attempt
from processor.errors import StoreCorrupt


def test_all_rows_succeed() -> None:
    assert attempt(str, [1, 2, 3]) == (["1", "2", "3"], [])


def test_no_rows() -> None:
    assert attempt(str, []) == ([], [])
    assert attempt(max, [], []) == ([], [])


def test_several_columns_go_in_as_arguments() -> None:
    assert attempt(pow, [2, 3], [3, 2]) == ([8, 9], [])


def test_results_of_none_are_results() -> None:
    assert attempt({1: "one"}.get, [1, 2]) == (["one", None], [])


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_row_that_fails_is_left_out_and_named(bad: int) -> None:
    rows = [1, 1, 1, 1, 1]
    rows[bad] = 0
    results, faults = attempt(lambda value: 1 // value, rows)
    assert results == [1, 1, 1, 1]
    assert [fault.row for fault in faults] == [bad]
    assert isinstance(faults[0].error, ZeroDivisionError)


def test_rows_that_fail_side_by_side_and_all_rows() -> None:
    results, faults = attempt(int, ["x", "y", "1", "z"])
    assert results == [1]
    assert [fault.row for fault in faults] == [0, 1, 3]
    results, faults = attempt(int, ["x", "y"])
    assert results == []
    assert [fault.row for fault in faults] == [0, 1]


def test_columns_stay_aligned_after_a_failure() -> None:
    results, faults = attempt(divmod, [7, 8, 9], [2, 0, 4])
    assert results == [(3, 1), (2, 1)]
    assert [fault.row for fault in faults] == [1]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_stop_iteration_is_a_fault_like_any_other(bad: int) -> None:
    def function(value: int) -> int:
        if value == bad:
            raise StopIteration
        return value

    results, faults = attempt(function, [0, 1, 2])
    assert results == [value for value in range(3) if value != bad]
    assert [fault.row for fault in faults] == [bad]
    assert str(faults[0].error) == "the function raised StopIteration"


def test_keyboard_interrupt_and_system_exit_are_no_faults() -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    def leave(_: int) -> None:
        raise SystemExit

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupt, [1])
    with pytest.raises(SystemExit):
        attempt(leave, [1])


def test_any_sequence_is_a_column() -> None:
    assert attempt(divmod, range(2, 4), (2, 2)) == ([(1, 0), (1, 1)], [])


@settings(derandomize=True)
@given(st.lists(st.sampled_from(["good", "raises", "stops"]), max_size=40))
def test_each_row_is_called_once_and_in_order(outcomes: list[str]) -> None:
    called: list[int] = []

    def function(row: int, outcome: str) -> int:
        called.append(row)
        if outcome == "raises":
            raise ValueError(row)
        if outcome == "stops":
            raise StopIteration
        return row

    results, faults = attempt(function, range(len(outcomes)), outcomes)
    assert called == list(range(len(outcomes)))
    assert results == [row for row, outcome in enumerate(outcomes) if outcome == "good"]
    assert [fault.row for fault in faults] == [
        row for row, outcome in enumerate(outcomes) if outcome != "good"
    ]
    assert all(isinstance(fault, Fault) for fault in faults)


def test_a_store_that_fails_is_no_fault_of_the_row() -> None:
    def read(_: int) -> None:
        raise StoreCorrupt("the store can't be read")

    with pytest.raises(StoreCorrupt):
        attempt(read, [1, 2])
