"""Who has a slot: a worker of this node, or another node that is asked in turn.

A node answers for a slot only while it knows that the slot is its own: as long as it has lately
read its own beat among those of others, and so all that they wrote before.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from processor.client.transport import Address, AsyncTransport, Request
from processor.cluster.view import is_ready
from processor.errors import QueryError, StoreUnavailable
from processor.health.lines import PATIENCE, Lines
from processor.kafka.broker_clock import since_start
from processor.queries.asks import Answer, Ask, Refusal, decode_answer, encode
from processor.topology.plan import Layout

if TYPE_CHECKING:
    from processor.node.node import NodeState

NODE: Final = "x-kproc-node"
"""The header that says which node is meant: an address may lead to another one."""

_FORBIDDEN: Final = (401, 403, 421)
_OK: Final = 200
_MARGIN: Final = 1.0
"""Seconds that a question to another node may take besides those of its worker."""

_SOON: Final = 0.5


class Peer(NamedTuple):
    """A node that has a worker for a slot."""

    node: str
    name: str
    url: str


@dataclass(frozen=True)
class Routes:
    """Who has what, as this node sees it; never changed.

    Attributes:
        holders: Slot → the node that has it; those are missing that nobody works on.
        backups: Slot → nodes with a backup that has caught up.
        heard_at: When this was last known to be so, by `since_start`.
    """

    node: str
    layout: Layout
    failover_timeout: int
    holders: Mapping[int, Peer] = field(default_factory=dict[int, Peer])
    backups: Mapping[int, tuple[Peer, ...]] = field(default_factory=dict[int, tuple[Peer, ...]])
    lines: Mapping[int, socket.socket] = field(default_factory=dict[int, socket.socket])
    heard_at: float | None = None

    @staticmethod
    def of(state: "NodeState") -> "Routes | None":
        """What a node knows; None: nothing yet."""
        if (view := state.view) is None:
            return None
        peers = {
            node: Peer(node, each.beat.name or node, each.beat.http)
            for node, each in view.members.items()
            if each.state != "dead"
        }
        holders = {
            slot: peers[each.node]
            for slot, each in view.holders.items()
            if each.node in peers and view.members[each.node].beat.boot == each.boot
        }
        backups = {
            slot: tuple(
                peers[node]
                for node, each in view.members.items()
                if node in peers and is_ready(each.replicas.get(slot))
            )
            for slot in range(view.slots)
        }
        return Routes(
            state.node,
            state.layout,
            view.failover_timeout,
            holders,
            backups,
            state.lines,
            state.heard_at,
        )

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have taken a slot of this node that it does not know of."""
        return self.heard_at is not None and (
            since_start() - self.heard_at < self.failover_timeout / 1000
        )


class Router:
    """Brings questions to those who have the slot.

    Args:
        access: What other nodes are shown; their addresses are known by their heartbeats.
    """

    def __init__(self, access: Address | None = None) -> None:
        self._access = access
        self._lines = Lines()
        self._peers: dict[str, AsyncTransport] = {}
        self.routes: Routes | None = None
        """As they are now; set by the node's loop."""

    @property
    def known(self) -> Routes:
        """As they are now.

        Raises:
            StoreUnavailable: The node has not begun yet.
        """
        if self.routes is None:
            raise StoreUnavailable("the node has not begun yet", "moving", _SOON)
        return self.routes

    async def ask(self, slot: int, ask: Ask) -> Answer:
        """What a slot answers; where a backup is enough, one of those if there is no primary.

        Raises:
            QueryError: It refuses.
        """
        routes, refusals = self.known, list[StoreUnavailable]()
        holder = routes.holders.get(slot)
        backups = routes.backups.get(slot, ()) if ask.stale else ()
        for peer in filter(None, (holder, *backups)):
            try:
                if peer.node == routes.node:
                    return await self.here(slot, ask)
                return await self._there(peer, slot, ask)
            except StoreUnavailable as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]
        raise StoreUnavailable(f"slot {slot} moves: nobody works on it now", "moving", _SOON)

    async def here(self, slot: int, ask: Ask) -> Answer:
        """What this node's worker of a slot answers.

        Raises:
            QueryError: It refuses; or this node is not sure to have the slot.
        """
        routes = self.known
        if not ask.stale:
            holder = routes.holders.get(slot)
            if holder is None or holder.node != routes.node:
                raise StoreUnavailable(f"slot {slot} has moved to another node", "moving", _SOON)
            if not routes.is_sure:
                text = "the node has not read its own heartbeats lately: it may have lost its slots"
                raise StoreUnavailable(text, "cut-off", _SOON)
        return _checked(await self._lines.ask(routes.lines, slot, ask))

    async def _there(self, peer: Peer, slot: int, ask: Ask) -> Answer:
        if not peer.url:
            raise QueryError(
                f"slot {slot} is on node {peer.name}, which serves no http: set http on all nodes",
                "unreachable",
            )
        request = Request("POST", f"/slots/{slot}", encode(ask), "application/msgpack")
        response = await (await self._transport(peer)).send(request)
        if response.status in _FORBIDDEN:
            raise QueryError(
                f"node {peer.name} at {peer.url} refuses to answer another node: set the same "
                "http_token on all nodes, and http_advertised where they can't be reached by the "
                f"address in http ({response.body.decode(errors='replace').strip()})",
                "unreachable",
            )
        if response.status != _OK:
            raise StoreUnavailable(f"node {peer.name} answers {response.status}", "busy", _SOON)
        try:
            return _checked(decode_answer(response.body))
        except msgspec.DecodeError as error:
            text = f"node {peer.name} runs another version: {error}"
            raise QueryError(text, "unreachable") from error

    async def _transport(self, peer: Peer) -> AsyncTransport:
        known = self._peers.get(peer.node)
        if known is None or known.address.url != peer.url:
            if known is not None:
                await known.close()
            base = self._access or Address(peer.url)
            address = Address(
                peer.url, base.token, base.ca, base.certificate, base.key, {NODE: peer.node}
            )
            known = self._peers[peer.node] = AsyncTransport(address, PATIENCE + _MARGIN)
        return known


def _checked(answer: Answer) -> Answer:
    if isinstance(answer, Refusal):
        raise answer.error
    return answer
