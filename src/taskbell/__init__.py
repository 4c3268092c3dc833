"""Tell a person's browser what their background work is doing. This is the door; it opens lazily."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskbell.store.outbox import apublish, publish, publish_many

__all__ = ["apublish", "publish", "publish_many"]

# Importing taskbell must load no model, no queue and no server: settings files and task modules import it.
_HOMES = {
    "apublish": "taskbell.store.outbox",
    "publish": "taskbell.store.outbox",
    "publish_many": "taskbell.store.outbox",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'taskbell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
