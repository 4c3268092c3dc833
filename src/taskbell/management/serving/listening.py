"""The addresses that `serve` listens on."""

import socket
from argparse import ArgumentTypeError
from typing import Final

from django.core.management.base import CommandError

from taskbell.gateway.files import most_waiting

LAST_PORT: Final = 65_535


def port_number(text: str) -> int:
    """Return the port that was typed."""
    if not (text.isascii() and text.isdigit() and int(text) <= LAST_PORT):
        raise ArgumentTypeError(f"{text!r} is no port. Write a number from 0 to {LAST_PORT}.")
    return int(text)


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a listening socket, or say in plain words why not; `shared` ones may have the same address."""
    # `::` means every address, as it does for other servers.
    dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family(host), backlog=most_waiting(), dualstack_ipv6=dual, reuse_port=shared
        )
    except OSError as error:
        raise CommandError(refusal(host, port, error)) from error


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that keeps an address for those that `listen` there shared; it takes no connections itself.

    An address where somebody else listens is refused, though the kernel would let us share it.
    """
    with listen(host, port) as alone:
        port = alone.getsockname()[1]
    keeper = socket.socket(family(host), socket.SOCK_STREAM)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if host == "::" and socket.has_dualstack_ipv6():
        keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        keeper.bind((host, port))
    except OSError as error:
        keeper.close()
        raise CommandError(refusal(host, port, error)) from error
    return keeper


def address(bound: socket.socket) -> str:
    """Return host and port as they stand in an address of the web."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"


def host_and_port(text: str) -> tuple[str, int]:
    """Return the address that was typed: `127.0.0.1:9101`, `[::1]:9101`, or a port of this machine alone."""
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", port_number(port)


def family(host: str) -> socket.AddressFamily:
    """Return the kind of address that a host is."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def refusal(host: str, port: int, error: OSError, options: str = "--host or --port") -> str:
    """Return in plain words why nobody can listen there."""
    why = str(error.strerror or error).partition(" (")[0]
    return f"Cannot listen on {host} port {port}: {why}. Choose another {options}."
