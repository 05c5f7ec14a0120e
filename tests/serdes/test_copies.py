"""Copies are equal, share nothing that can be changed, and are made without code of the types."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from processor.serdes.copies import copy_of
from tests.serdes import kinds
from tests.serdes.test_internal import Bag, alike


@pytest.mark.parametrize("value", [value for _, value in kinds.EXAMPLES], ids=kinds.name_of)
def test_a_copy_is_equal(value: Any) -> None:
    for around in (value, [value], {"a": value}, (value,), Bag(value)):
        copy = copy_of(around)
        assert type(copy) is type(around)
        assert (copy, repr(copy)) == (around, repr(around))


def test_a_copy_of_a_set_of_several_is_equal() -> None:
    copy = copy_of(kinds.FROZEN_SET)
    assert type(copy) is set
    assert copy == kinds.FROZEN_SET
    assert {type(each.b) for each in copy} == {frozenset}


@pytest.mark.parametrize("value", kinds.PLAIN_EXAMPLES, ids=kinds.name_of)
def test_a_copy_of_plain_values_is_alike(value: Any) -> None:
    assert alike(copy_of(value), value)


class Inner(msgspec.Struct):
    a: list[int]

    def __post_init__(self) -> None:
        self.a.append(0)


def test_a_copy_shares_nothing() -> None:
    for make in (list, Bag, lambda a: {"a": a}, lambda a: (a,), Inner):  # type: ignore[misc]
        inner = [1]
        value: Any = make([inner])
        copy = copy_of(value)
        assert copy == value
        inner.append(2)
        assert copy != value


def test_structs_in_other_models_are_copied_without_their_code() -> None:
    value = Bag(Inner([1]), kinds.Struct(5))
    assert copy_of(value) == Bag(value.a, value.b)


@dataclass
class Noted:
    a: list[int]


def test_what_an_object_has_besides_its_fields_is_copied() -> None:
    value = Noted([1])
    value.note = "n"  # type: ignore[attr-defined]
    assert vars(copy_of(value)) == {"a": [1], "note": "n"}


def test_what_refuses_to_be_copied_is_shared() -> None:
    value = Bag(iter([1]), lambda: 1)
    generator = (each for each in [1])
    assert copy_of(generator) is generator
    assert copy_of(value).b is value.b
