"""Facts as outbox rows and back, and as the datagrams of worker children."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from taskbell.exceptions import PayloadTooLarge
from taskbell.ground.events import PAYLOAD_BYTES, encode_payload
from taskbell.models import Outbox
from taskbell.runs.states import Fact, Identity, Tree

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
    fact = _known(values, _FACT)
    fact["identity"] = identity_from_dict(values["identity"])
    fact["plan"] = tuple(_texts(planned) for planned in values.get("plan", ()))
    fact["holes"] = ranges_in(values.get("holes", ()))
    return Fact(**fact)


def identity_from_dict(values: dict[str, Any]) -> Identity:
    """Build an identity from its JSON, as `from_dict`."""
    identity = _known(values, _IDENTITY)
    if (tree := values.get("tree")) is not None:
        identity["tree"] = Tree(**_known(tree, _TREE))
    if (replaces := values.get("replaces")) is not None:
        identity["replaces"] = identity_from_dict(replaces)
    if (after := values.get("after")) is not None:
        identity["after"] = {str(task_id): int(step) for task_id, step in after.items()}
    identity["skips"] = ranges_in(values.get("skips", ()))
    return Identity(**identity)


def identity_to_dict(identity: Identity, *, is_header: bool = False) -> dict[str, Any]:
    """Return an identity as JSON; `after` only in the header that travels, where the task itself needs it."""
    lean = {key: value for key in _IDENTITY if (value := getattr(identity, key)) is not None}
    if (tree := identity.tree) is not None:
        lean["tree"] = {key: value for key in _TREE if (value := getattr(tree, key)) is not None}
    if identity.replaces is not None:
        lean["replaces"] = identity_to_dict(identity.replaces, is_header=is_header)
    if identity.skips:
        lean["skips"] = identity.skips
    if is_header and identity.after:
        lean["after"] = identity.after
    return lean


def _lean(fact: Fact) -> dict[str, Any]:
    """Return what is not None: facts are many and small. Not by `asdict`, which copies deeply and takes longer."""
    lean = {key: value for key in _FACT if (value := getattr(fact, key)) is not None and value is not False}
    lean["identity"] = identity_to_dict(fact.identity)
    if fact.plan:
        lean["plan"] = fact.plan
    if fact.holes:
        lean["holes"] = fact.holes
    return lean


def _known(values: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    known = {key: value for key, value in values.items() if key in types}
    for key, value in known.items():
        if not isinstance(value, types[key]):
            raise TypeError(f"{key} of a fact is no {value.__class__.__name__}")
    return known


def ranges_in(values: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges (first and last) from their JSON."""
    return tuple((int(first), int(last)) for first, last in values)


def _texts(values: tuple[str, str, str]) -> tuple[str, str, str]:
    task_id, name, label = values
    return str(task_id), str(name), str(label)


def _types_of(hint: Any) -> tuple[type, ...]:
    if hint is Any:
        return (object,)
    if get_origin(hint) is Literal:
        return (str,)
    parts = get_args(hint) or (hint,)
    return (*parts, int) if float in parts else parts


def _plain(values: type, *nested: str) -> dict[str, tuple[type, ...]]:
    return {name: _types_of(hint) for name, hint in get_type_hints(values).items() if name not in nested}


_TREE: Final = _plain(Tree)
_IDENTITY: Final = _plain(Identity, "tree", "skips", "after", "replaces")
_FACT: Final = _plain(Fact, "identity", "plan", "holes")
