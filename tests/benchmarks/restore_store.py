"""Ways to load a changelog into RocksDB, compared on the same records in the same run.

    uv run python tests/benchmarks/restore_store.py [--records 2000000] [--busy]

Records come in batches of 10,000 with 16-byte random keys and 16-byte values, as a consumer hands
them over; what is measured is from the open store to the store open and ready for reads, all of it
flushed. `RocksStore` is what restores use (`begin_restore`); the others are what it was chosen
from. Each runs in a process of its own; `--busy` keeps another core busy meanwhile, as the consumer
does. Prints records/s, CPU seconds and the largest memory of the process (without its input).
"""

import argparse
import multiprocessing
import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rocksdict import IngestExternalFileOptions, Rdict, SstFileWriter, WriteBatch

from processor.records import Offset
from processor.storage.rocks_options import store_options, write_options
from processor.storage.rocksdb import RocksResources, RocksStore

BATCH = 10_000
Batches = list[dict[bytes, bytes | None]]


def batches(records: int) -> Batches:
    chance = random.Random(1)
    return [
        {chance.randbytes(16): struct.pack("<qq", first + row, row) for row in range(BATCH)}
        for first in range(0, records, BATCH)
    ]


def store_plain(store: RocksStore, changes: Batches) -> None:
    for number, batch in enumerate(changes, 1):
        store.write(batch, Offset(number * BATCH))
    store.flush()


def store_sorted(store: RocksStore, changes: Batches) -> None:
    for number, batch in enumerate(changes, 1):
        store.write({key: batch[key] for key in sorted(batch)}, Offset(number * BATCH))
    store.flush()


def store_sorted_large(store: RocksStore, changes: Batches) -> None:
    store_sorted(store, joined(changes, 10))


def store_restore(store: RocksStore, changes: Batches) -> None:
    store.begin_restore(len(changes) * BATCH)
    for number, batch in enumerate(changes, 1):
        store.write(batch, Offset(number * BATCH))
    store.end_restore()


def store_ingest(store: RocksStore, changes: Batches) -> None:
    """Sorted files of 400,000 records, then the position: two steps, in this order."""
    shared = store._resources
    database: Rdict = store._db
    for number, large in enumerate(joined(changes, 40), 1):
        path = str(store._path / f"ingest-{number}.sst")
        writer = SstFileWriter(store_options(shared.cache, shared.write_buffers, restoring=False))
        writer.open(path)
        for key in sorted(large):
            writer[key] = large[key]
        writer.finish()
        options = IngestExternalFileOptions()
        options.set_move_files(True)
        database.ingest_external_file([path], options)
        position = WriteBatch(raw_mode=True)
        position[b""] = struct.pack(">q", number)
        database.write(position, write_options())
    store.flush()


def joined(changes: Batches, count: int) -> Batches:
    large: Batches = []
    for first in range(0, len(changes), count):
        together: dict[bytes, bytes | None] = {}
        for batch in changes[first : first + count]:
            together.update(batch)
        large.append(together)
    return large


WAYS: dict[str, Callable[[RocksStore, Batches], None]] = {
    "plain loop": store_plain,
    "sorted, 10 k": store_sorted,
    "sorted, 100 k": store_sorted_large,
    "SST files, 400 k": store_ingest,
    "RocksStore": store_restore,
}


def measure(way: str, records: int) -> dict[str, float]:
    changes = batches(records)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        shared = RocksResources()
        store = RocksStore(Path(folder) / "data", shared)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        WAYS[way](store, changes)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        keys = random.Random(2).choices(list(changes[-1]), k=5000)
        assert store.get_many(keys) == [changes[-1][key] for key in keys]
        store.close()
        shared.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "cpu": cpu, "memory": (peak - memory) / 1024}


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--busy", action="store_true", help="keep another core busy")
    arguments: Any = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    burner = context.Process(target=spin, daemon=True)
    if arguments.busy:
        burner.start()
    print(f"{'way':20} {'records/s':>12} {'CPU s':>8} {'+memory MiB':>12}")
    for way in WAYS:
        with context.Pool(1) as pool:
            result = pool.apply(measure, (way, arguments.records))
        rate = arguments.records / result["seconds"]
        print(f"{way:20} {rate:12,.0f} {result['cpu']:8.2f} {result['memory']:12.0f}", flush=True)
    if arguments.busy:
        burner.terminate()


if __name__ == "__main__":
    main()
