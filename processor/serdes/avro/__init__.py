"""Avro: schemas, reading and writing, and Python's types for them."""
