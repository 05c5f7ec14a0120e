"""Messages of Protobuf, made without protoc: two files, of which one imports the other."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _file(name: str, package: str, *imports: str) -> Any:
    return descriptor_pb2.FileDescriptorProto(
        name=name, package=package, dependency=imports, syntax="proto3"
    )


def _field(message: Any, name: str, kind: str, type_name: str = "") -> None:
    field = message.field.add(name=name, number=len(message.field) + 1, label=1)
    field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind}")
    if type_name:
        field.type_name = type_name


_shared = _file("shared.proto", "test")
_money = _shared.message_type.add(name="Money")
_field(_money, "cents", "INT64")

_orders = _file("orders.proto", "test", "shared.proto")
_first = _orders.message_type.add(name="First")
_field(_first, "name", "STRING")
_order = _orders.message_type.add(name="Order")
_line = _order.nested_type.add(name="Line")
_field(_line, "count", "INT32")
_field(_order, "id", "INT64")
_field(_order, "total", "MESSAGE", ".test.Money")
_field(_order, "first", "MESSAGE", ".test.Order.Line")
_field(_order, "next", "MESSAGE", ".test.Order")

_pool = descriptor_pool.Default()
_pool.AddSerializedFile(_shared.SerializeToString())
_pool.AddSerializedFile(_orders.SerializeToString())


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


Money, First, Order, Line = map(
    _class, ("test.Money", "test.First", "test.Order", "test.Order.Line")
)
