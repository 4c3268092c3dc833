"""What a message says of the tasks that follow it: the rest of a chain, a chord's body, callbacks."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from taskbell.engines.celery.messages import BUILT_IN
from taskbell.models import TASK_ID_LENGTH
from taskbell.runs.labels import label_for
from taskbell.runs.scope import Leaf

UNLOCK: Final = "celery.chord_unlock"
# Celery's own tasks that do nothing but call one of the project's, for every item.
MAPS: Final = frozenset({"celery.map", "celery.starmap"})
# Of a large group, these say it as well.
MOST_FOLLOWERS: Final = 100


def label_of(name: str) -> str:
    """Return the label of a task, "" for one that nobody is shown: Celery's own are plumbing."""
    return "" if name.startswith(BUILT_IN) else label_for(name) or ""


def leads_to_shown(name: str, body: Any) -> bool:
    """Tell whether a task that people may see is to follow the one of this message."""
    if not isinstance(body, tuple | list) or len(body) != 3:  # protocol 1
        return False
    args, _, embedded = body
    followers = [embedded.get(key) for key in ("callbacks", "errbacks", "chain", "chord")]
    if name == UNLOCK:
        followers.append(args[1])
    return any(map(label_of, islice(_names(followers), MOST_FOLLOWERS)))


def _names(signatures: Any) -> Iterator[str]:
    """Yield the names of tasks in signatures, which are dicts, nested by groups, chains, chords and links."""
    if isinstance(signatures, list | tuple):
        for signature in signatures:
            yield from _names(signature)
    elif isinstance(signatures, dict):
        if isinstance(name := signatures.get("task"), str):
            yield name
        if signatures.get("subtask_type"):  # only then are these signatures, and not what a task was given
            yield from _names(list((signatures.get("kwargs") or {}).values()))
        options = signatures.get("options") or {}
        yield from _names([options.get(key) for key in ("link", "link_error", "chord")])


def seen_name(name: str, body: Any) -> str:
    """Return the name of the task that people see: for Celery's own that call another one, the other's."""
    return _called(name, body[1]) if name in MAPS and isinstance(body, tuple | list) else name


def _called(name: str, kwargs: Any) -> str:
    inner = kwargs.get("task") if name in MAPS and isinstance(kwargs, Mapping) else None
    return str(inner["task"]) if isinstance(inner, Mapping) and "task" in inner else name


class Followers:
    """What is published only after a message, by the message itself: in its own `chain`, then by a chord it is in."""

    def __init__(self, name: str, body: Any) -> None:
        parts = body if isinstance(body, tuple | list) else ()
        options = dict(parts[2] or {}) if len(parts) > 2 else {}
        if name == UNLOCK and parts and len(parts[0]) > 1:
            options["chord"] = parts[0][1]
        #: All task ids, of tasks shown and not.
        self.ids: set[str] = set()
        chain, bodies = _walk_options(options, self.ids)
        self.chain = _once(chain, set())
        self.body = _once(bodies, {leaf.task_id for leaf in self.chain})


def walk(sig: Any, ids: set[str] | None = None) -> tuple[list[Leaf], list[Leaf]]:
    """Return the shown tasks in a signature, in the order of their work, and those of chords that it is in."""
    name, kwargs, options = sig["task"], sig["kwargs"], sig["options"]
    now: list[Leaf] = []
    later: list[Leaf] = []
    if name in {"celery.chain", "celery.group"}:
        _walk_all(kwargs["tasks"], now, later, ids)
    elif name == "celery.chord":
        header = kwargs["header"]
        _walk_all(header["kwargs"]["tasks"] if isinstance(header, Mapping) else header, now, later, ids)
        _walk_all([kwargs["body"]] if kwargs["body"] else [], now, later, ids)
    else:
        now += _leaf(_called(name, kwargs), options.get("task_id") or "", ids)
    chain, bodies = _walk_options(options, ids)
    return now + chain, later + bodies


def _walk_options(options: Mapping[str, Any], ids: set[str] | None) -> tuple[list[Leaf], list[Leaf]]:
    now: list[Leaf] = []
    later: list[Leaf] = []
    _walk_all(reversed(options.get("chain") or ()), now, later, ids)
    if body := options.get("chord"):
        first, rest = walk(body, ids)
        later += first + rest
    return now, later


def _walk_all(sigs: Iterable[Any], now: list[Leaf], later: list[Leaf], ids: set[str] | None) -> None:
    for sig in sigs:
        first, rest = walk(sig, ids)
        now += first
        later += rest


def _leaf(name: str, task_id: str, ids: set[str] | None) -> Iterator[Leaf]:
    if ids is not None:
        ids.add(task_id)
    label = label_of(name)
    if label and len(task_id) <= TASK_ID_LENGTH and (task_id or ids is None):
        yield Leaf(task_id, name[:255], label[:255])


def _once(leaves: Iterable[Leaf], seen: set[str]) -> list[Leaf]:
    return [leaf for leaf in leaves if leaf.task_id not in seen and not seen.add(leaf.task_id)]  # type: ignore[func-returns-value]
