"""A plan as a picture: as Mermaid, and with a place for everything, as a node's page draws it."""

from processor.topology.drawing.mermaid import mermaid

__all__ = ["mermaid"]
