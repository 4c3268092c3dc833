"""Facts as outbox rows and back, and as the datagrams of worker children."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from taskbell.exceptions import PayloadTooLarge
from taskbell.ground.events import PAYLOAD_BYTES, encode_payload
from taskbell.models import Outbox
from taskbell.runs.states import Fact, Identity

RUN: Final = "run"


def to_row(fact: Fact) -> Outbox:
    """Return the outbox row of a fact."""
    identity = fact.identity
    return Outbox(
        kind=RUN,
        type=fact.kind,
        user_key=identity.user_key,
        run_key=identity.run,
        task_id=identity.task_id,
        latest_key=identity.run if fact.kind == "progress" else None,
        payload=encode_payload(_lean(fact)),
    )


def from_row(row: Outbox) -> Fact:
    """Read a fact back; raises ValueError, TypeError or KeyError on a row that is none."""
    return from_dict(json.loads(row.payload))


def to_bytes(fact: Fact) -> bytes:
    """Return the fact as a datagram."""
    text = json.dumps(_lean(fact), separators=(",", ":"), allow_nan=False)
    if len(text) > PAYLOAD_BYTES:
        raise PayloadTooLarge
    return text.encode("ascii")


def from_bytes(data: bytes) -> Fact:
    """Read a datagram back."""
    return from_dict(json.loads(data))


def from_dict(values: dict[str, Any]) -> Fact:
    """Build a fact from its JSON; keys of a newer version are left out, and a value of another type is refused."""
    identity = Identity(**_known(values["identity"], _IDENTITY))
    return Fact(**{**_known(values, _FACT), "identity": identity})


def _lean(fact: Fact) -> dict[str, Any]:
    """Return what is not None: facts are many and small. Not by `asdict`, which copies deeply and takes longer."""
    lean = {key: value for key in Fact.__slots__ if (value := getattr(fact, key)) is not None and value is not False}
    identity = fact.identity
    lean["identity"] = {key: value for key in Identity.__slots__ if (value := getattr(identity, key)) is not None}
    return lean


def _known(values: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    known = {key: value for key, value in values.items() if key in types}
    for key, value in known.items():
        if not isinstance(value, types[key]):
            raise TypeError(f"{key} of a fact is no {value.__class__.__name__}")
    return known


def _types_of(hint: Any) -> tuple[type, ...]:
    if hint is Any:
        return (object,)
    if get_origin(hint) is Literal:
        return (str,)
    parts = get_args(hint) or (hint,)
    return (*parts, int) if float in parts else parts


_IDENTITY: Final = {name: _types_of(hint) for name, hint in get_type_hints(Identity).items()}
_FACT: Final = {name: _types_of(hint) for name, hint in get_type_hints(Fact).items() if name != "identity"}
