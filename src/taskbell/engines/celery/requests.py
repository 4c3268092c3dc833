"""The requests that a worker's main process has received, as long as Celery keeps them."""

import os
from collections.abc import Iterator
from typing import Any, Final
from weakref import WeakValueDictionary

from taskbell.engines.celery.messages import identity_in
from taskbell.runs import header
from taskbell.runs.states import Identity

_requests: Final[WeakValueDictionary[str, Any]] = WeakValueDictionary()


def keep(identity: Identity, request: Any) -> None:
    """Remember the request of a run; the one before it was an earlier attempt."""
    _requests.pop(identity.run, None)
    _requests[identity.run] = request


def kept() -> Iterator[Any]:
    """Return what is kept, the oldest first."""
    return iter(list(_requests.values()))


def process_of(run: str) -> int | None:
    """Return the id of the process that works on a run, if it is a child of this one."""
    request = _requests.get(run)
    pid = request.worker_pid if request is not None else None
    return pid if pid != os.getpid() else None


def identity_of(task_id: str) -> Identity | None:
    """Return the run of the newest request with this id, which callers may have used before."""
    for request in reversed(list(_requests.values())):
        if request.id == task_id:
            return identity_in(request.request_dict.get(header.NAME), task_id)
    return None
