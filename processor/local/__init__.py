"""What is started on this machine: the embedded Kafka, nodes as processes, files of records.

May touch `kafka`.
"""
