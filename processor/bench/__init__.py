"""Benchmarks: how fast a topology of the user's own is, on real nodes and a real Kafka.

What is measured is seen from outside: what the broker shows as committed, the results as a reader
of committed records gets them, and the processes' time and memory. `bench.figures` is pure.
May touch everything; nothing but the command line knows of it.
"""
