"""Chains, groups and chords: what is enqueued as one.

Nothing but the call that applies a canvas knows how large it is, and signals see one message at a time. So the methods
that apply one are wrapped, in a scope each; they take what they took, and return and raise what they did.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from celery import canvas, current_app
from celery.utils.functional import _regen

from taskbell.engines.celery.followers import walk
from taskbell.runs.scope import current_scope, scope

_WRAPPED: Final = "_taskbell_wraps"

Apply = Callable[..., Any]


def install() -> None:
    """Have every canvas applied within a scope; harmless to repeat."""
    for kind in (canvas.group, canvas._chain, canvas._chord):
        for name in ("apply_async", "apply"):
            _wrap(kind, name, _in_scope)
    _wrap(canvas._chord, "run", _header_first)


def _wrap(kind: type, name: str, wrapper: Callable[[Apply], Apply]) -> None:
    apply = getattr(kind, name)
    if not hasattr(apply, _WRAPPED):
        wrapped = wrapper(apply)
        setattr(wrapped, _WRAPPED, True)
        setattr(kind, name, wrapped)


def _in_scope(apply: Apply) -> Apply:
    @wraps(apply)
    def applied(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_of_links(self, kwargs):
            return apply(self, *args, **kwargs)
        with scope() as opened:
            result = apply(self, *args, **kwargs)
            opened.call(getattr(result, "id", None))
            return result

    return applied


def _is_of_links(applied: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether Celery itself has put callbacks or errbacks of a task into a group; then these are no tree."""
    if not isinstance(applied, canvas.group) or isinstance(applied.tasks, _regen) or not kwargs.get("parent_id"):
        return False
    task = current_app.current_worker_task
    if task is None:  # the main process, for a child that died
        return True
    links = [*(task.request.callbacks or ()), *(task.request.errbacks or ())]
    return all(sig in links for sig in applied.tasks)


def _header_first(run: Apply) -> Apply:
    """Let the steps of a chord's header stand before that of its body, of which the first message tells already."""

    @wraps(run)
    def ran(self: Any, header: Any, *args: Any, **kwargs: Any) -> Any:
        opened = current_scope()
        # What a generator yields is counted by nobody before its time.
        if opened is None or isinstance(header.tasks, _regen):
            return run(self, header, *args, **kwargs)
        with opened.area(sum(len(walk(task)[0]) for task in header.tasks)):
            return run(self, header, *args, **kwargs)

    return ran
