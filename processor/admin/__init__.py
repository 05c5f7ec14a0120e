"""What an operator does to an application: reset, rescale, preview a plan, dead letters.

May touch `kafka`, `storage` and `node`.
"""
