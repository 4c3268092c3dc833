"""The worker's main process: what it tells of tasks that cannot tell it themselves."""

import os
import weakref
from dataclasses import replace
from typing import Any, Final

from taskbell.engines.celery import cancel, requests
from taskbell.engines.celery.messages import attempt_of, identity_in, identity_of, seconds_of
from taskbell.engines.celery.results import ending_of
from taskbell.runs import header
from taskbell.runs.failure import reference_for, told
from taskbell.runs.send import leave_children, serve_children
from taskbell.runs.states import Fact
from taskbell.runs.watch import Watch
from taskbell.runs.worker import Fate, Held, Worker
from taskbell.runs.writer import writer

_worker: Final = Worker()
_watch: Final = Watch(_worker, ending_of)
os.register_at_fork(after_in_child=_worker.after_fork_in_child)


def begin(sender: Any, **kwargs: Any) -> None:
    """Be a worker's main process."""
    writer.beat_as(str(getattr(sender, "hostname", "") or "celery"))
    serve_children(_take)
    cancel.listen()
    _watch.start()


def finish(**kwargs: Any) -> None:
    """Take the children's last words, tell what was cut off, and write what waits."""
    leave_children()
    _watch.close()
    # Threads run to their end, and until then this process lives; then it writes what waits once more.
    if not _worker.works_inside:
        writer.finish()


def _take(fact: Fact, pid: int) -> None:
    """Pass on what tasks tell; one that fails because it was revoked, as by a signal that raises, is cancelled."""
    from celery.worker.state import revoked as revoked_ids

    if fact.kind == "failed" and fact.identity.task_id in revoked_ids:
        fact = replace(fact, kind="cancelled", error_message=None, error_reference=None)
    _worker.take(fact, pid)


def received(request: Any, **kwargs: Any) -> None:
    """Hold a run from now on."""
    identity = identity_in((request.message.headers or {}).get(header.NAME), request.id)
    if identity is None:
        return
    requests.keep(identity, request)
    if identity.is_told:
        _worker.hold(identity, attempt_of(request.request_dict.get("retries")), _Receipt(request))


def revoked(request: Any, expired: bool, **kwargs: Any) -> None:
    """Tell what was called off, or came too late; what runs in a child, when that is gone."""
    held = _held_of(request)
    if held is None:
        return
    pid = requests.process_of(held.identity.run) if kwargs.get("terminated") else None
    if pid is not None:
        _worker.stop(held, pid)
    else:
        _worker.end(held, "expired" if expired else "cancelled")


def unknown(message: Any, id: str, name: str, **kwargs: Any) -> None:
    """Tell the failure of a task that this worker has no code for."""
    _refused(message, id, LookupError(f"no task is named {name}"))


def rejected(message: Any, exc: BaseException | None = None, **kwargs: Any) -> None:
    """Tell the failure of a task whose message this worker cannot use."""
    id = (message.headers or {}).get("id")
    if isinstance(id, str):
        _refused(message, id, exc or ValueError("no worker can read the message"))


def failed(task_id: str, exception: BaseException) -> None:
    """Tell the failure of a task whose child died, or took too long."""
    held = _worker.find(task_id)
    if held is not None:
        _worker.end(held, "failed", **told(exception, held.identity))


def retried(request: Any, reason: Any) -> None:
    """Tell that a task whose child died was published anew."""
    held = _held_of(request)
    if held is not None:
        _worker.end(held, "retrying", next_attempt_at=seconds_of(getattr(reason, "when", None)))


def called_off(request: Any) -> None:
    """Tell the loss of a task "cancelled by Celery" in a cold shutdown: nothing will ever try it again."""
    running = _worker.find(request.id)
    held = _held_of(request)
    if held is not None and not (running is not None and running.is_inside):  # a thread runs on
        _worker.end(held, "lost")


def broken_off(task_id: str) -> None:
    """Note that a task without an ending is over in a pool without children, where Celery may not notice."""
    held = _worker.find(task_id)
    if held is not None:
        held.broken = True


class _Receipt:
    """What Celery and the broker say of a request: Celery forgets it when it is done, the message knows for good."""

    def __init__(self, request: Any) -> None:
        from celery.worker import state

        self._state = state
        self._id = request.id
        self._request = weakref.ref(request)
        self._message = request.message
        # Ids may be used again, and then an old success says nothing.
        self._succeeded_before = request.id in state.successful_requests

    def is_here(self) -> bool:
        request = self._request()
        # The pool accepts a request first, which sets the time, and makes it active then.
        return request is not None and (request.time_start is None or request in self._state.active_requests)

    def fate(self) -> Fate:
        if self._id in self._state.successful_requests and not self._succeeded_before:
            return "succeeded"
        # What was refused for good has told its failure; anything else not acknowledged is handed out again.
        return "lost" if self._message._state == "ACK" else "returns"


def _refused(message: Any, id: str, error: BaseException) -> None:
    identity = identity_in((message.headers or {}).get(header.NAME), id)
    if identity is not None and identity.is_told:
        _worker.end(Held(identity), "failed", error_reference=reference_for(error, identity))


def _held_of(request: Any) -> Held | None:
    """Return what the request itself tells: a task that is dead on arrival was never noted as received."""
    identity = identity_of(request, request.id)
    if identity is None or not identity.is_told:
        return None
    return Held(identity, attempt_of(getattr(request, "retries", 0)))
