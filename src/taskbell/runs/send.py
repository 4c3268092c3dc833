"""The one way in for facts: to the main process from a worker's child, else to the writer of this process."""

from collections.abc import Callable

from taskbell.runs.children import Children
from taskbell.runs.states import Fact
from taskbell.runs.writer import writer

_children: Children | None = None


def send(fact: Fact) -> None:
    """Send a fact on its way; never raises and never waits for a database."""
    if _children is not None and _children.in_child:
        _children.send(fact)
    else:
        writer.put(fact)


def serve_children(take: Callable[[Fact], None] = writer.put) -> None:
    """Have children that are forked from now on send their facts here; for a worker's main process."""
    global _children  # noqa: PLW0603  one worker a process
    if _children is None:
        _children = Children(take)
