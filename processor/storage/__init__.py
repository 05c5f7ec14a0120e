"""What is kept on disk and in object storage: RocksDB, state folders, archives of snapshots.

May touch disk and object storage, and no Kafka.
"""
