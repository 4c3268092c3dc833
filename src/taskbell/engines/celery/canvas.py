"""What a message says of the tasks that follow it: the rest of a chain, a chord's body, callbacks."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from taskbell.engines.celery.messages import BUILT_IN
from taskbell.runs.labels import label_for

CHORD_UNLOCK: Final = "celery.chord_unlock"
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
    if name == CHORD_UNLOCK:
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
