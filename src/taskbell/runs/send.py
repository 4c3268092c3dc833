"""The one way in for facts: to the main process from a worker's child, else to the writer of this process."""

from collections.abc import Callable

from taskbell.runs.children import Children
from taskbell.runs.states import Fact
from taskbell.runs.writer import writer

_children: Children | None = None
_take: Callable[[Fact], None] = writer.put


def send(fact: Fact) -> None:
    """Send a fact on its way; never raises and never waits for a database."""
    if _children is not None and _children.in_child:
        _children.send(fact)
    else:
        _take(fact)


def serve_children(take: Callable[[Fact], None]) -> None:
    """Have `take` see every fact of this process and of children forked from now on; for a worker's main process."""
    global _children, _take
    if _children is None:
        _children, _take = Children(take), take
