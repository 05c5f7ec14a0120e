"""What a node says of itself over HTTP: probes, metrics, the page, and what its stores hold.

May touch `node`, and asks other nodes by `client`.
"""
