"""Kafka as everybody here uses it: clients and errors, topics read and written, the registry.

May touch librdkafka and HTTP to a registry. Knows nothing of slots, nodes or stores.
"""
