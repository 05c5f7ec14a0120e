"""Actuators: how the autoscaler's decisions become nodes.

An actuator counts nodes and changes their number. It never kills one: a node that is to go is asked
to, as by SIGTERM, so that it lets others take its slots over first.
"""

from collections.abc import Iterator
from typing import Protocol


class Actuator(Protocol):
    """What runs the nodes."""

    def count(self) -> int | None:
        """How many nodes were ordered, whether or not they live yet; None: nobody knows.

        Raises:
            ActuatorFailed: It can't be asked now.
        """
        ...

    def scale_to(self, nodes: int) -> None:
        """Has so many nodes run from now on; does not wait for it.

        Raises:
            ActuatorFailed: It can't be done now.
        """

    def turn(self) -> Iterator[str]:
        """Does what has to be done again and again; says what happened.

        Raises:
            KprocError: It can't go on.
        """
        ...

    def close(self) -> None:
        """Ends what belongs to this process, in good order."""


class Recommender:
    """Changes nothing: who reads what is recommended, does. That is taken to happen."""

    def __init__(self) -> None:
        self._nodes: int | None = None

    def count(self) -> int | None:
        """What was recommended last."""
        return self._nodes

    def scale_to(self, nodes: int) -> None:
        """Remembers it."""
        self._nodes = nodes

    def turn(self) -> Iterator[str]:
        """Nothing happens here."""
        yield from ()

    def close(self) -> None:
        """Nothing belongs to this."""
