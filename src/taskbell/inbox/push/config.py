"""The setting `PUSH`: the key that signs, whom a push service may write to, and which services there are besides."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.core.signals import setting_changed

from taskbell.conf import NAME, current
from taskbell.inbox.push.endpoint import is_host

KEYS: Final = ("PRIVATE_KEY", "CONTACT", "HOSTS")
# What a file of a key may hold; one that is something else altogether is not read into memory.
FILE_BYTES: Final = 1_024
# What every service takes, and the library that signs: Apple's wants a real domain, the library no path.
_CONTACT: Final = re.compile(r"(?:mailto:[^@\s]+@|https://)[\w-]+(?:\.[\w-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is needed to send. The private key stands in no text made of it."""

    private_key: str = field(repr=False)
    public_key: str
    contact: str
    hosts: tuple[str, ...] = ()


@cache
def configured() -> Config | None:
    """Return what `PUSH` says; None where it is not set, or cannot be used (a check says why)."""
    written: Any = current().PUSH
    if not isinstance(written, Mapping) or not written or not is_installed() or any(complaints(written)):
        return None
    private_key = _private_key(written["PRIVATE_KEY"])
    return Config(
        private_key=private_key,
        public_key=_public_of(private_key),
        contact=written["CONTACT"],
        hosts=tuple(written.get("HOSTS", ())),
    )


def is_installed() -> bool:
    """Tell whether the extra `push` is there."""
    return all(find_spec(name) is not None for name in ("pywebpush", "aiohttp", "cryptography"))


def complaints(written: Mapping[Any, Any]) -> Iterator[str]:
    """Yield what is wrong with the dict, each to be read after its name; never a value of it."""
    yield from (f"has no key {key!r}" for key in written if key not in KEYS)
    yield from _about_key(written.get("PRIVATE_KEY"))
    contact = written.get("CONTACT")
    if not isinstance(contact, str) or not _CONTACT.fullmatch(contact):
        yield "wants a 'CONTACT' by which a push service reaches you: mailto:you@example.com, or https://example.com"
    hosts = written.get("HOSTS", ())
    if not isinstance(hosts, list | tuple) or not all(map(is_host, hosts)):
        yield "wants 'HOSTS' to be a list of host names in lower case, such as push.example.com or *.push.example.com"


def _about_key(value: object) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield "wants a 'PRIVATE_KEY'"
        return
    if not is_installed():
        return  # the check says so, and nothing can be said of the key
    try:
        _public_of(_private_key(value))
    except OSError as error:
        yield f"names a file of the 'PRIVATE_KEY' that cannot be read: {error.strerror}"
    except ValueError:
        yield "has a 'PRIVATE_KEY' that is none"


def _private_key(value: str) -> str:
    """Return the key, which may stand in a file: then no dump of the settings shows it."""
    return _read(value) if value.startswith("/") else value


def _read(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(FILE_BYTES).decode("ascii").strip()


def _public_of(private_key: str) -> str:
    # The module wants the extra, which a project without Web Push need not have.
    from taskbell.inbox.push.keys import public_of

    return public_of(private_key)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        configured.cache_clear()


setting_changed.connect(_forget, dispatch_uid="taskbell.push")
