"""Chaos: faults on purpose, and whether an application came through them.

Which faults there are, when they come and how results are judged are pure functions; `chaos.run`
has them carried out. May touch everything; nothing but the command line knows of it.
"""
