"""Queries of stores: what can be asked, of whom, in which words, and how a slot answers.

Pure: knows no socket, no thread and no Kafka. May touch `topology`, `runtime` and `cluster`.
"""
