"""A plan as a Mermaid flowchart, such as pages on GitHub show."""

import re
from collections.abc import Iterator

from processor.topology.drawing.picture import Box, Picture, picture
from processor.topology.plan import Plan

_SHAPES = {"topic": "([{}])", "internal": "[[{}]]", "chosen": ">{}]", "step": "[{}]"}
_STORE = "[({})]"
_CLASSES = (
    "classDef topic fill:#dbeafe,stroke:#2563eb,color:#172554",
    "classDef internal fill:#ede9fe,stroke:#7c3aed,color:#2e1065,stroke-dasharray:4 3",
    "classDef chosen fill:#dbeafe,stroke:#2563eb,color:#172554,stroke-dasharray:4 3",
    "classDef step fill:#f8fafc,stroke:#64748b,color:#0f172a",
    "classDef store fill:#fef3c7,stroke:#d97706,color:#451a03",
)


def mermaid(plan: Plan) -> str:
    """The plan as a flowchart in Mermaid's language; lines end with a newline."""
    return "\n".join(("flowchart LR", *_Flowchart(picture(plan)).lines(), ""))


class _Flowchart:
    """Ids are numbers: names may be words that mean something to Mermaid."""

    def __init__(self, drawn: Picture) -> None:
        self._drawn = drawn
        self._ids = {box: f"n{number}" for number, box in enumerate(drawn.boxes)}

    def lines(self) -> Iterator[str]:
        boxes = self._drawn.boxes.values()
        for box in boxes:
            if box.part is None:
                yield f"  {self._box(box)}"
        for part in sorted({box.part for box in boxes if box.part is not None}):
            yield f'  subgraph part{part}["Subtopology {part}"]'
            for box in boxes:
                if box.part == part:
                    yield f"    {self._box(box)}"
                    yield from (f"    {line}" for line in self._stores(box))
            yield "  end"
        for source, target, label in self._drawn.arrows:
            arrow = f"-- {_quoted(label)} -->" if label else "-->"
            yield f"  {self._ids[source]} {arrow} {self._ids[target]}"
        yield from (f"  {line}" for line in _CLASSES)

    def _box(self, box: Box) -> str:
        lines = (box.name, box.caption) if box.part is None else (box.caption, box.name)
        shape = _SHAPES[box.kind].format(_quoted(*lines))
        return f"{self._ids[box.id]}{shape}:::{box.kind}"

    def _stores(self, box: Box) -> Iterator[str]:
        for number, store in enumerate(box.stores):
            name = f"{self._ids[box.id]}s{number}"
            yield f"{name}{_STORE.format(_quoted(store.name, store.types))}:::store"
            yield f"{self._ids[box.id]} -.- {name}"


def _quoted(*lines: str) -> str:
    return '"' + "<br/>".join(map(_escaped, filter(None, lines))) + '"'


def _escaped(text: str) -> str:
    """Letters, digits and a few signs as they are, all else as Mermaid's `#number;`."""
    return re.sub(r"[^\w .,→-]", lambda found: f"#{ord(found[0])};", text)
