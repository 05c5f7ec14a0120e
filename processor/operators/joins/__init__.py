"""Joins: rows that meet what a table or another stream holds."""
