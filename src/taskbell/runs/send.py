"""The one way in for facts: to the main process from a worker's child, else to the writer of this process."""

import os
from collections.abc import Callable

from taskbell.runs.children import Children
from taskbell.runs.states import Fact
from taskbell.runs.writer import writer


def _write(fact: Fact, pid: int) -> None:
    writer.put(fact)


_children: Children | None = None
_take: Callable[[Fact, int], None] = _write


def send(fact: Fact) -> None:
    """Send a fact on its way; never raises and never waits for a database."""
    if _children is not None and _children.in_child:
        _children.send(fact)
    else:
        _take(fact, os.getpid())


def in_child() -> bool:
    """Tell whether this process is a pool child of a worker."""
    return _children is not None and _children.in_child


def serve_children(take: Callable[[Fact, int], None]) -> None:
    """Have `take` see every fact and whose it is, of this process and of children forked from now on.

    For a worker's main process.
    """
    global _children, _take
    if _children is None:
        _children, _take = Children(take), take


def leave_children() -> None:
    """Take what the children of this process have sent, and listen to them no more."""
    global _children  # noqa: PLW0603  one worker a process
    if _children is not None:
        _children.close()
        _children = None
