"""The workloads as a topology of kproc; PEERS_WORKLOAD and PEERS_RUN say which, and its name."""

import os
from typing import Any

from processor import JoinWindow, Topology, Windowed, session, tumbling
from processor.serdes import json
from tests.benchmarks.peers.workloads import GAP, GRACE, INPUT, PAYMENTS, TABLE, WINDOW, WITHIN

WORKLOAD = os.environ.get("PEERS_WORKLOAD", "count")
RUN = os.environ.get("PEERS_RUN", "peers")
UNREAD = ("count", "sessions")
"""Workloads that leave values as they are."""


def define(workload: str, run: str) -> Topology:
    """The topology of a workload."""
    topology = Topology(run)
    output = f"{run}-results"
    orders = topology.stream(INPUT, value=bytes if workload in UNREAD else Any)
    match workload:
        case "map":
            big = orders.filter(lambda order: order["amount"] >= 500)
            big.map_values(lambda order: {**order, "big": True}).to(output, value=json)
        case "count":
            counts = orders.group_by_key().count()
            counts.to(output, value=json)
        case "sum":
            windows = tumbling(f"{WINDOW}ms", grace=f"{GRACE}ms")
            windowed = orders.group_by_key().window(windows, emit="checkpoint")
            sums = windowed.aggregate(lambda: 0, lambda total, order: total + order["amount"])
            sums.to_stream().map(summed).to(output, key=str, value=json)
        case "enrich":
            tiers = topology.table(TABLE)
            enriched = orders.join(tiers, lambda order, row: {**order, **row})
            enriched.to(output, value=json)
        case "sessions":
            gaps = session(f"{GAP}ms", grace=f"{GRACE}ms")
            counts = orders.group_by_key().window(gaps, emit="checkpoint").count().to_stream()
            there = counts.filter(lambda count: count is not None)  # not so once it has grown
            there.map(counted).to(output, key=str, value=json)
        case "join":
            near = JoinWindow(before=f"{WITHIN}ms", after=f"{WITHIN}ms", grace=f"{GRACE}ms")
            payments = topology.stream(PAYMENTS)
            paid = orders.join(payments, paired, within=near)
            paid.to(output, value=json)
        case _:
            raise SystemExit(f"{workload}: there is no such workload")
    return topology


def summed(window: Windowed[str], total: int) -> tuple[str, dict[str, Any]]:
    """A sum as it is written."""
    return window.key, {"start": window.start, "sum": total}


def counted(window: Windowed[str], count: int) -> tuple[str, dict[str, Any]]:
    """A session as it is written."""
    return window.key, {"start": window.start, "count": count}


def paired(order: dict[str, Any], payment: dict[str, Any]) -> dict[str, Any]:
    """An order with one of its payments."""
    return {**order, "paid": payment["amount"], "at": payment["ts"]}


topology = define(WORKLOAD, RUN)
