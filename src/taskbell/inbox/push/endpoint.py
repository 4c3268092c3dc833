"""Where a browser may have us send to. The address comes from a client, so nothing of it is believed.

It is checked when it is saved and again whenever something is sent: the setting may have changed, and so may the name's
addresses. What is looked up is what is connected to (send.py), so nobody can answer twice.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

# The services behind Chromium, Firefox, Safari and Edge. A star stands for any name below.
SERVICES: Final = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
# The longest that were seen, Microsoft's, have some 500 characters.
ENDPOINT_LENGTH: Final = 2_048
NAME_LENGTH: Final = 253

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: so no number, in whatever notation, is a name. All ASCII, no dot at the end.
_NAME: Final = rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_NAME}")
# No user, no fragment, no port but that of https, and nothing that two parsers could read in two ways.
_ENDPOINT: Final = re.compile(rf"https://({_NAME})(?::443)?(/[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*)")

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_LOW_32: Final = 0xFFFF_FFFF

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadEndpoint(ValueError):
    """An endpoint that nothing is sent to. Its message does not repeat it, because whoever knows one can send to it."""


def check_endpoint(endpoint: str, hosts: Sequence[str]) -> str:
    """Return the host of an endpoint, which is one of the known services or of `hosts`; raises `BadEndpoint`."""
    if len(endpoint) > ENDPOINT_LENGTH:
        raise BadEndpoint(f"The endpoint is longer than {ENDPOINT_LENGTH:,} characters.")
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None:
        raise BadEndpoint("The endpoint is no https address with a name, on port 443.")
    host = found[1]
    if len(host) > NAME_LENGTH or not any(_covers(pattern, host) for pattern in (*SERVICES, *hosts)):
        raise BadEndpoint("The endpoint belongs to no push service that this site knows.")
    return host


def is_host(pattern: object) -> bool:
    """Tell whether a setting names a host, or with `*.` before it all below one."""
    return isinstance(pattern, str) and len(pattern) <= NAME_LENGTH and bool(_HOST.fullmatch(pattern))


def is_public(text: str) -> bool:
    """Tell whether an IP address is one of the open internet, and holds no other within it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return all(_is_public(one) for one in (address, *_within(address)))


def digest(endpoint: str) -> str:
    """Return what an endpoint is found by."""
    return sha256(endpoint.encode()).hexdigest()


def _covers(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        # 6to4 is retired (RFC 7526), and newer Pythons call none of its addresses global.
        if address.is_site_local or address.sixtofour is not None:
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True  # as public as the one within
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _within(address: Address) -> Iterator[Address]:
    """Yield the IPv4 address that an IPv6 address leads to: mapped, or by NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & _LOW_32)
