"""From bytes to values and back.

`serde_for` finds the serde for an annotation; the others are for naming one: `bytes_serde`, `text`,
`int64`, `float64` and `boolean` as Kafka's own serializers have them, `json`, `json_of(TYPE)`,
`auto` for what a function computed, `key_json` for keys without a type, and `avro`, `json_schema`
and `protobuf`, whose schemas may be in a `SchemaRegistry`.
"""

from processor.serdes.avro.serde import avro
from processor.serdes.base import Serde, decode_column, encode_column, for_topic, lossless
from processor.serdes.infer import (
    kept_key_serde_for,
    kept_serde_for,
    key_serde_for,
    serde_for,
)
from processor.serdes.json import auto, json, json_of
from processor.serdes.json_schema import json_schema
from processor.serdes.keys import key_json
from processor.serdes.plain import boolean, bytes_serde, float64, int64, text
from processor.serdes.protobuf import protobuf
from processor.serdes.registry import SchemaRegistry, SchemasMissing
from processor.serdes.types import field_type, return_type

__all__ = [
    "SchemaRegistry",
    "SchemasMissing",
    "Serde",
    "auto",
    "avro",
    "boolean",
    "bytes_serde",
    "decode_column",
    "encode_column",
    "field_type",
    "float64",
    "for_topic",
    "int64",
    "json",
    "json_of",
    "json_schema",
    "kept_key_serde_for",
    "kept_serde_for",
    "key_json",
    "key_serde_for",
    "lossless",
    "protobuf",
    "return_type",
    "serde_for",
    "text",
]
