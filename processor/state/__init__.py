"""Keyed state: the store protocol, uncommitted writes over it, and their changelog."""
