"""A plan as a picture: Mermaid for pages that render it, SVG for everything else."""

from processor.topology.drawing.mermaid import mermaid
from processor.topology.drawing.svg import svg

__all__ = ["mermaid", "svg"]
