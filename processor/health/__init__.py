"""What a node says of itself over HTTP: probes and metrics.

May touch `node`.
"""
