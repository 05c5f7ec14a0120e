"""What a node says of itself over HTTP: probes, metrics and the page.

May touch `node`.
"""
