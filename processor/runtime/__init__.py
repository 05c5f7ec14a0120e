"""The worker's core: events in, commands out; no client, no socket, no wall clock."""
