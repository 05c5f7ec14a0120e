"""What trials of a topology share: a Kafka and topics of their own, nodes as processes, a load.

May touch what meets Kafka and starts nodes. Chaos and benchmarks are built on it, and nothing else.
"""
