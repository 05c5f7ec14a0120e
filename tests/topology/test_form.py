from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, NewType, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from processor import ProcessContext, Record, Topology
from processor.errors import TopologyError, UsageError
from processor.serdes import auto, int64, json, key_json, text
from processor.topology.form import Form
from processor.topology.topology import builder_of

T = TypeVar("T")
UserId = NewType("UserId", str)


class Model(pydantic.BaseModel):
    user: str
    amount: int


class Open(pydantic.BaseModel, extra="allow"):
    user: str


@dataclass(frozen=True)
class Data:
    user: str
    amount: int

    @property
    def half(self) -> float:
        return self.amount / 2


class Struct(msgspec.Struct):
    user: str
    amount: int


class Typed(TypedDict):
    user: str
    amount: int


MODELS = [Model, Data, Struct, Typed]


def to_int(value: object) -> int:
    return len(str(value))


def to_any(value: object) -> Any:
    return value


def to_optional(value: object) -> int | None:
    return None if value is None else 1


def test_forms_are_those_of_annotations() -> None:
    assert Form.returned_by(to_int) == Form(int)
    assert Form.returned_by(to_any) == Form()
    assert Form.returned_by(lambda value: value) == Form()
    assert Form.returned_by(str) == Form(str)
    assert Form.returned_by(Data) == Form(Data)
    assert Form.returned_by(to_optional).kept_value(None, "x").name == "int64"


def numbers() -> list[int]: ...
def endless() -> Iterator[int]: ...
def generated() -> Generator[int, None, None]: ...
def several() -> tuple[int, ...]: ...
def perhaps() -> Iterable[int] | None: ...
def three() -> tuple[int, str, str]: ...
def bare() -> list: ...
def nothing() -> None: ...
def generic(value: T) -> list[T]: ...


@pytest.mark.parametrize("function", [numbers, endless, generated, several, perhaps])
def test_forms_of_each_of_several(function: Callable[..., Any]) -> None:
    assert Form.each_returned_by(function) == Form(int)


@pytest.mark.parametrize("function", [three, bare, nothing, generic, list, to_int])
def test_forms_of_each_that_are_not_given(function: Callable[..., Any]) -> None:
    assert Form.each_returned_by(function) == Form()


def pair() -> tuple[str, int]: ...
def alike() -> tuple[int, ...]: ...
def pairs() -> Iterator[tuple[str, int]]: ...
def records() -> Iterator[Record[str, int]] | None: ...
def half_known() -> list[Record[str, Any]]: ...


def test_forms_of_pairs_and_records() -> None:
    assert Form.pair_returned_by(pair) == (Form(str), Form(int))
    assert Form.pair_returned_by(alike) == (Form(), Form())
    assert Form.pair_returned_by(lambda: (1, 2)) == (Form(), Form())
    assert Form.pairs_returned_by(pairs) == (Form(str), Form(int))
    assert Form.pairs_returned_by(records) == (Form(str), Form(int))
    assert Form.pairs_returned_by(half_known) == (Form(str), Form())
    assert Form.pairs_returned_by(nothing) == (Form(), Form())


def test_what_is_unchanged_is_written_as_it_was_read() -> None:
    assert Form(int, int64).written_value(None, "x") is int64
    assert Form(int).written_value(None, "x") is auto
    assert Form(int, int64).written_value(str, "x") is text
    assert Form(int, int64).written_key(None, "x") is int64
    assert Form().written_key(tuple, "x") is key_json


def test_what_is_kept_is_kept_by_its_type() -> None:
    assert Form(int).kept_value(None, "x") is int64
    assert Form(int, json).kept_value(None, "x") is int64
    assert Form(None, json).kept_value(None, "x").name == "internal"
    assert Form(int).kept_value(str, "x") is text
    assert Form().kept_key(None, "x") is key_json
    assert Form(UserId).kept_key(None, "x") is text


def test_values_of_no_known_type_are_kept_as_they_are_or_refused() -> None:
    serde = Form().kept_value(None, "x")
    for kept in ({"a": [1, "b", None]}, (1, 2), {1: 2}, Decimal("1.00")):
        back = serde.decode(serde.encode(kept))
        assert (type(back), back) == (type(kept), kept)
    with pytest.raises(TypeError, match="Data can't be kept without its type"):
        serde.encode(Data("ann", 1))


def test_each_value_of_a_topic_of_no_known_type_is_refused_if_json_would_change_it() -> None:
    serde = Form().through_value(None, "x")
    assert serde.name == "json"
    assert serde.decode(serde.encode({"a": [1, "b", None]})) == {"a": [1, "b", None]}
    for changed in ((1, 2), Data("ann", 1), {1: 2}):
        with pytest.raises(UsageError, match="name the type"):
            serde.encode(changed)


@pytest.mark.parametrize("model", MODELS)
def test_fields_of_models(model: Any) -> None:
    getter, form = Form(model).field("amount")
    assert form == Form(int)
    assert getter(model(user="ann", amount=7)) == 7


def test_fields_behind_other_annotations() -> None:
    for annotation in (Typed | None, Annotated[Typed, "note"], NewType("Known", Typed)):
        getter, form = Form(annotation).field("amount")
        assert (getter({"amount": 7}), form) == (7, Form(int))


@pytest.mark.parametrize("model", MODELS)
def test_fields_that_a_model_does_not_have(model: type) -> None:
    with pytest.raises(TopologyError) as caught:
        Form(model).field("price")
    assert str(caught.value) == f"'price' is no field of {model.__name__}, which has user, amount"


def test_fields_that_are_not_given_but_may_be_there() -> None:
    assert Form(Data).field("half")[0](Data("ann", 7)) == 3.5
    assert Form(Open).field("more")[0](Open(user="ann", more=1)) == 1


def test_fields_of_untyped_values() -> None:
    assert Form(None, json).field("a")[0]({"a": 1}) == 1
    for value in ({"user": "ann"}, Data("ann", 1)):
        assert Form().field("user")[0](value) == "ann"


@pytest.mark.parametrize("model", MODELS)
def test_serdes_of_a_grouping_by_a_field(model: type) -> None:
    topology = Topology("app")
    topology.stream("in", value=model).group_by("amount").count()
    sources = [node for node in builder_of(topology).nodes if node.name.endswith("repartition")]
    assert [(s.key.name, s.value.name) for s in sources] == [
        ("int64", f"internal({model.__name__})")
    ]


def serdes_of_store(topology: Topology, name: str) -> tuple[str, str]:
    specs = [spec for node in builder_of(topology).nodes for spec in getattr(node, "stores", ())]
    (found,) = [spec for spec in specs if spec.name == name]
    return found.key.name, found.value.name


def test_serdes_through_functions_with_annotations() -> None:
    topology = Topology("app")
    stream = topology.stream("in").map_values(Data)
    stream.key_by(to_int).to_table(name="t")
    stream.key_by(lambda data: data.user, name="untyped").to_table(name="u")
    stream.group_by("user").aggregate(dict[str, int], lambda so_far, data: so_far, name="a")
    assert serdes_of_store(topology, "t") == ("int64", "stamped(internal(Data))")
    assert serdes_of_store(topology, "u") == ("json-key", "stamped(internal(Data))")
    assert serdes_of_store(topology, "a") == ("text", "stamped(internal(dict[str, int]))")


def split(record: Record[str, Any], context: ProcessContext) -> Iterator[Record[int, Data]]: ...
def explode(value: Any) -> list[Data]: ...
def swap(key: str, value: Any) -> tuple[int, Data]: ...


def test_serdes_through_functions_that_return_several() -> None:
    topology = Topology("app")
    stream = topology.stream("in")
    stream.process(split, name="p").to_table(name="t1")
    stream.flat_map_values(explode).to_table(name="t2")
    stream.map(swap, name="m").to_table(name="t3")
    assert serdes_of_store(topology, "t1") == ("int64", "stamped(internal(Data))")
    assert serdes_of_store(topology, "t2") == ("text", "stamped(internal(Data))")
    assert serdes_of_store(topology, "t3") == ("int64", "stamped(internal(Data))")


def test_what_several_forms_agree_on() -> None:
    read = Form(int, int64)
    assert Form.common([read, Form(int, int64)]) == read
    assert Form.common([read, Form(int)]) == Form(int)
    assert Form.common([read, Form(str)]) == Form()
