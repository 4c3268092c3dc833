"""Events as values: what may be published, checked before any SQL runs."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder

from taskbell.exceptions import InvalidChannel, InvalidPayload, InvalidType, PayloadTooLarge

CHANNEL_LENGTH: Final = 128
PAYLOAD_BYTES: Final = 64 * 1024
# JavaScript reads every number as a double: beyond this an integer arrives as another integer.
SAFE_INTEGER: Final = 2**53 - 1

# `error` and `open` would call EventSource's own handlers; the rest are written by Taskbell alone.
RESERVED_TYPES: Final = frozenset({"run", "notification", "seen", "error", "open", "ping", "reset", "bye"})
RESERVED_NAMESPACES: Final = frozenset({"user", "taskbell"})
PUBLIC_NAMESPACE: Final = "public"

_CHANNEL = re.compile(r"[a-z0-9_.-]+:[A-Za-z0-9_.-]+")
_TYPE = re.compile(r"[a-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event ready for the outbox; exactly one of `channel` and `user_key` is set.

    `payload` is one line of ASCII JSON, at most 64 KiB.
    """

    type: str
    payload: str
    channel: str | None = None
    user_key: str | None = None


def is_channel(text: str) -> bool:
    """Tell whether `text` has the form of a channel, whoever it belongs to."""
    return len(text) <= CHANNEL_LENGTH and _CHANNEL.fullmatch(text) is not None


def namespace(channel: str) -> str:
    """Return what stands before the colon."""
    return channel.partition(":")[0]


def recipient_channel(recipient: UUID) -> str:
    """Return the channel that only this recipient's person reads."""
    return f"user:{recipient}"


def check_channel(channel: object) -> str:
    """Return `channel` if an application may publish to it, or raise `InvalidChannel`."""
    if not isinstance(channel, str):
        raise InvalidChannel(
            f"A channel is a string or a saved user object, not {_kind(channel)}. For a person pass the user object."
        )
    if not is_channel(channel):
        raise InvalidChannel(
            f"{_quote(channel)} is not a channel. Write `namespace:name`: a-z 0-9 _ . - before the colon, "
            f"also A-Z after it, {CHANNEL_LENGTH} characters at most. For a person pass the user object."
        )
    if namespace(channel) in RESERVED_NAMESPACES:
        raise InvalidChannel(
            f"{_quote(channel)}: the namespaces `user:` and `taskbell:` are Taskbell's own. "
            "For a person pass the user object."
        )
    return channel


def check_type(type: object) -> str:
    """Return `type` if it may be published, or raise `InvalidType`."""
    if not isinstance(type, str):
        raise InvalidType(f"A type is a string, not {_kind(type)}.")
    if not _TYPE.fullmatch(type):
        raise InvalidType(f"{_quote(type)} is not a type. Use 1 to 64 of a-z, 0-9, dot, underscore and hyphen.")
    if type in RESERVED_TYPES:
        raise InvalidType(f"{_quote(type)} is a type that Taskbell or the browser uses itself. Choose another name.")
    return type


def encode_payload(payload: Any) -> str:
    """Return `payload` as one line of ASCII JSON that every browser reads back as the same value.

    Dates, UUIDs, Decimals and lazy strings are written as Django's encoder writes them.
    Raises `InvalidPayload` for NaN, infinities, integers over 2**53 - 1, keys that meet after
    conversion to text, cycles and unknown objects; `PayloadTooLarge` over 64 KiB.
    """
    try:
        text = json.dumps(payload, cls=DjangoJSONEncoder, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        if len(text) <= PAYLOAD_BYTES:
            json.loads(text, object_pairs_hook=_check_keys, parse_int=_check_integer)
    except InvalidPayload:
        raise
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidPayload(f"The payload cannot be written as JSON: {_first_line(error)}") from error
    if len(text) > PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"The payload is {len(text):,} bytes as JSON, the limit is {PAYLOAD_BYTES:,}. "
            "Publish an id and let the page fetch the rest."
        )
    return text


def _check_keys(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidPayload(f"The payload has the key {_quote(twice)} twice in one object once keys are text.")


def _check_integer(digits: str) -> None:
    # 20 characters hold every integer near the limit; longer ones need no parsing (Python refuses over 4,300 digits).
    if len(digits) > 20 or abs(int(digits)) > SAFE_INTEGER:
        _refuse_integer(digits)


def _refuse_integer(digits: str) -> NoReturn:
    raise InvalidPayload(
        f"The integer {digits[:40]} is over 2**53 - 1 and would arrive as another number in a browser. "
        "Send it as a string."
    )


def _quote(text: str) -> str:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ascii(shown)


def _kind(value: object) -> str:
    return f"a {value.__class__.__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error) or error.__class__.__name__).partition("\n")[0][:200]
