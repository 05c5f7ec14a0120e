"""One process that works on one slot: the loop around the core, restores, snapshots.

May touch `kafka` and `storage`. Knows nothing of nodes, but for the line that it reports on.
"""
