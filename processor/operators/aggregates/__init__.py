"""Aggregates: how many values become one, and the steps that keep one for each key."""
