"""The native plane: whole batches between librdkafka and Python lists, in one call each.

Owns an extension in C (`plane.c`), which is built where there is a compiler, and how a client is
made that it knows. May touch confluent_kafka; knows nothing of topologies, slots or transactions.
Without the extension everything works as well, record by record.
"""
