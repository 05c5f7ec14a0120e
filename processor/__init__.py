"""kproc: a Kafka-native stream processor for Python."""
