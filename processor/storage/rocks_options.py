"""How RocksDB is tuned for a store, and what its errors mean.

Knows nothing of what is stored. With `storage.rocksdb` and `storage.rocks_scan` the only module
that imports rocksdict.
"""

from pathlib import Path
from typing import Any, cast

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    MemtableFactory,
    Options,
    WriteBufferManager,
    WriteOptions,
)

from processor.errors import StateError, StoreCorrupt, StoreLocked

MIB = 1 << 20

MEMTABLES = 4
"""How many memtables a store may have; RocksDB stops writes while all of them wait for a flush."""

_DROP = "drop the store, then it is restored from its changelog"
_CAUSES: tuple[tuple[str, type[StateError], str], ...] = (
    ("Corruption:", StoreCorrupt, _DROP),
    ("No such file or directory", StoreCorrupt, _DROP),
    ("(create_if_missing is false)", StoreCorrupt, _DROP),
    ("While lock file", StoreLocked, "another process uses it: end that process first"),
    ("lock hold by current process", StoreLocked, "this process has it open already"),
    ("No space left on device", StateError, "free some space on its disk and start again"),
    ("Disk quota exceeded", StateError, "raise the disk quota and start again"),
    ("Permission denied", StateError, "let this user read and write it"),
    ("Read-only file system", StateError, "choose a state folder that can be written"),
    ("Too many open files", StateError, "raise the limit of open files (ulimit -n)"),
    ("already closed", StateError, "open the store again"),
)
"""What RocksDB's messages mean, by the first text that occurs in one, and what to do."""


def store_options(cache: Cache, write_buffers: WriteBufferManager, *, restoring: bool) -> Options:
    """The options of one open; `restoring` is for many writes and hardly any read."""
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, block_based=False)
    table.set_format_version(5)
    # In the cache, so that memory is bounded; in parts, or one filter outgrows a shard of the cache
    # and is read from disk for every get (2.5 times slower at 2 M keys).
    table.set_cache_index_and_filter_blocks(True)
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(4096)
    table.set_pin_top_level_index_and_filter(True)

    options = Options(raw_mode=True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_manager(write_buffers)
    options.set_max_write_buffer_number(MEMTABLES)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    if restoring:
        # Sorting is fastest in the processor's cache.
        options.set_memtable_factory(MemtableFactory.vector())
        options.set_allow_concurrent_memtable_write(False)
        options.set_write_buffer_size(8 * MIB)
    else:
        options.set_write_buffer_size(16 * MIB)
    return options


def write_options() -> WriteOptions:
    """No write-ahead log: the changelog is one."""
    options = WriteOptions()
    # rocksdict's type stub has a method where there is a property.
    cast("Any", options).disable_wal = True
    return options


def translated(path: Path, error: Exception) -> Exception:
    """The error of kproc for one of RocksDB's; any other error as it is."""
    if not (type(error) is Exception or isinstance(error, (DbClosedError, OSError))):
        return error
    message = " ".join(str(error).split())
    for text, kind, advice in _CAUSES:
        if text in message:
            reported = f"store {path}: {message}; {advice}"
            return StoreCorrupt(reported, path) if kind is StoreCorrupt else kind(reported)
    return StateError(f"store {path}: {message}; if it persists, drop the store to restore it")
