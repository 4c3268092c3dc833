"""Other servers of event streams, each ready to take streams and one POST for one event to all of them."""

from typing import Final

from bench.peers.base import Missing, Peer
from bench.peers.eventstream import EventStream
from bench.peers.nchan import Nchan
from bench.peers.pushpin import Pushpin

PEERS: Final[tuple[type[Peer], ...]] = (Nchan, Pushpin, EventStream)

__all__ = ["PEERS", "Missing", "Peer"]
