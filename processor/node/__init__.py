"""One `kproc run`: its workers, and its part among the nodes of the application.

May touch `kafka`, and of `worker` what is said on the line between them.
"""
