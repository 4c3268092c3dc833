"""For whom a request counts: the peer, or behind trusted proxies the nearest address that is none of them."""

from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from taskbell.conf import current

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Whoever has an IPv6 address has all of such a network to choose others from.
ONE_SITE: Final = 64
# Proxies, and whoever comes back again and again: their text is read once.
MOST_ADDRESSES: Final = 1_024


def client_address(scope: dict[str, Any]) -> str:
    """Return what limits count: an IPv4 address, an IPv6 network, or nothing.

    A peer without an address came by a Unix socket: only a proxy of this machine can, so it is trusted. Proxies add to
    the right what they know, and to the left anybody may have written anything.
    """
    peer = (scope.get("client") or ("",))[0]
    address = _read(peer)
    believed = not peer or _is_trusted(address)
    hops = _hops(scope) if believed else []
    while hops and believed:
        hop = _read(hops.pop())
        if hop is None:
            break  # nothing to count by: it stays with the proxy that said so
        address, believed = hop, _is_trusted(hop)
    return _counted(address)


def _hops(scope: dict[str, Any]) -> list[str]:
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    return [hop for hop in map(str.strip, forwarded.split(",")) if hop]


@lru_cache(MOST_ADDRESSES)
def _read(text: str) -> Address | None:
    """Return an address from its text; some proxies write a port behind it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families says IPv4 addresses in the words of IPv6.
    return (address.version == 6 and address.ipv4_mapped) or address


def _is_trusted(address: Address | None) -> bool:
    return address is not None and any(address in network for network in _networks(tuple(current().TRUSTED_PROXIES)))


@cache
def _networks(written: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(network, strict=False) for network in written)


@lru_cache(MOST_ADDRESSES)
def _counted(address: Address | None) -> str:
    if address is None:
        return ""
    return str(address) if address.version == 4 else str(IPv6Network((int(address), ONE_SITE), strict=False))
