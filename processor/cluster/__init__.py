"""Decisions about slots and nodes, as pure functions."""
