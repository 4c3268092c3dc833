"""Tell a person's browser what their background work is doing. This is the door; it opens lazily."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from taskbell.exceptions import PublicError
    from taskbell.inbox.notify import anotify, notify
    from taskbell.runs.here import progress, publish_result, track
    from taskbell.runs.owner import for_user
    from taskbell.runs.read import get_run
    from taskbell.runs.scope import batch
    from taskbell.store.outbox import apublish, publish, publish_many

__all__ = [
    "PublicError",
    "anotify",
    "apublish",
    "batch",
    "for_user",
    "get_run",
    "notify",
    "progress",
    "publish",
    "publish_many",
    "publish_result",
    "track",
]

# Importing taskbell must load no model, no queue and no server: settings files and task modules import it.
_HOMES: Final = {
    "taskbell.exceptions": ("PublicError",),
    "taskbell.inbox.notify": ("anotify", "notify"),
    "taskbell.runs.here": ("progress", "publish_result", "track"),
    "taskbell.runs.owner": ("for_user",),
    "taskbell.runs.read": ("get_run",),
    "taskbell.runs.scope": ("batch",),
    "taskbell.store.outbox": ("apublish", "publish", "publish_many"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'taskbell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
