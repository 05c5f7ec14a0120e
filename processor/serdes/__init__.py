"""From bytes to values and back."""

from processor.serdes.base import Serde, decode_column, encode_column, lossless
from processor.serdes.infer import key_serde_for, serde_for
from processor.serdes.json import auto, json, json_of
from processor.serdes.keys import key_json
from processor.serdes.plain import boolean, bytes_serde, float64, int64, text
from processor.serdes.types import field_type, return_type

__all__ = [
    "Serde",
    "auto",
    "boolean",
    "bytes_serde",
    "decode_column",
    "encode_column",
    "field_type",
    "float64",
    "int64",
    "json",
    "json_of",
    "key_json",
    "key_serde_for",
    "lossless",
    "return_type",
    "serde_for",
    "text",
]
