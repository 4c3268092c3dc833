"""Celery: signals become facts. What signals miss is the reaper's (docs/explain/endings.md).

Four processes are met here: who publishes (web, beat, shell, or a task), the worker's main process, its pool children,
and, in solo and threads pools, main process and task in one. No handler may raise, wait or touch the task's connection.
"""

import time
from datetime import datetime, timedelta
from typing import Any, Final

from celery import current_app, signals
from celery.result import AsyncResult
from celery.states import FAILURE, IGNORED, REVOKED, SUCCESS
from django.utils import timezone

from taskbell.engines.base import Engine
from taskbell.models import TASK_ID_LENGTH
from taskbell.runs import header
from taskbell.runs.failure import reference_for, told
from taskbell.runs.here import Here, current_run, enter, leave, new_execution, tell_queued
from taskbell.runs.labels import label_for
from taskbell.runs.owner import owner_key
from taskbell.runs.send import serve_children
from taskbell.runs.states import Fact, Identity, Kind, Run
from taskbell.runs.worker import Held, Worker
from taskbell.runs.writer import writer

# Celery's own tasks (chord_unlock, backend_cleanup) are plumbing.
BUILT_IN: Final = "celery."
# What the columns hold.
NAME_LENGTH: Final = 255
MOST_RETRIES: Final = 1_000_000
UID: Final = "taskbell.engines.celery"


class Celery(Engine):
    """Celery 5.4 and newer; prefork, threads and solo pools."""

    name = "celery"

    def install(self) -> None:
        for signal, handler in _HANDLERS.items():
            getattr(signals, signal).connect(handler, weak=False, dispatch_uid=f"{UID}.{signal}")

    def probe(self, run: Run) -> Fact | None:
        result = AsyncResult(run.identity.task_id, app=current_app)
        kinds: dict[str, Kind] = {SUCCESS: "succeeded", FAILURE: "failed", REVOKED: "cancelled"}
        kind = kinds.get(result.state)
        if kind is None:
            return None
        reference = reference_for(result.result, run.identity) if kind == "failed" else None
        return Fact(
            identity=run.identity,
            kind=kind,
            at=time.time(),
            attempt=run.attempt,
            execution=run.execution,
            error_reference=reference,
        )


# Publishing


def _before_publish(sender: str, headers: dict[str, Any], **kwargs: Any) -> None:
    """Give a task that people may see its run and its owner, before its message leaves."""
    here, task_id = current_run(), headers.get("id")
    if not task_id or sender.startswith(BUILT_IN):
        return
    if here is not None and here.identity.task_id == task_id:  # retry and replace keep the run
        headers[header.NAME] = header.sign(here.identity)
        here.republished = True
        return
    if (preset := headers.pop(header.NAME, None)) is not None and _identity(preset, task_id) is not None:
        headers[header.NAME] = preset
        return
    identity = _new_identity(sender, task_id, headers.get("group"), here)
    if identity is not None:
        headers[header.NAME] = header.sign(identity)


def _after_publish(headers: dict[str, Any], **kwargs: Any) -> None:
    """Tell "queued", now that the broker has the message."""
    identity = _identity(headers.get(header.NAME), headers.get("id", ""))
    here = current_run()
    if identity is None or (here is not None and here.identity.run == identity.run):
        return
    tell_queued(
        Fact(
            identity=identity,
            kind="queued",
            at=identity.queued_at,
            attempt=_attempt(headers.get("retries")),
            next_attempt_at=_seconds(headers.get("eta")),
            expires_at=_seconds(headers.get("expires")),
        )
    )


def _new_identity(name: str, task_id: str, group: str | None, here: Here | None) -> Identity | None:
    # The label first: to ask for the owner may load a session and its user.
    label = label_for(name) if len(task_id) <= TASK_ID_LENGTH else None
    user_key = owner_key(here.identity.user_key if here is not None else None) if label is not None else None
    if user_key is None or label is None:
        return None
    return Identity(
        run=header.new_run(),
        task_id=task_id,
        engine=Celery.name,
        name=name[:NAME_LENGTH],
        label=label[:NAME_LENGTH],
        user_key=user_key,
        parent=here.identity.run if here is not None else None,
        root=(here.identity.root or here.identity.run) if here is not None else None,
        group=group,
        queued_at=time.time(),
    )


# The worker's main process

_worker: Final = Worker()


def _worker_init(sender: Any, **kwargs: Any) -> None:
    writer.beat_as(str(getattr(sender, "hostname", "") or "celery"))
    serve_children(_worker.take)


def _worker_shutdown(**kwargs: Any) -> None:
    writer.finish()


def _received(request: Any, **kwargs: Any) -> None:
    identity = _identity((request.message.headers or {}).get(header.NAME), request.id)
    if identity is not None:
        _worker.hold(identity, attempt=_attempt(request.request_dict.get("retries")))


def _revoked(request: Any, expired: bool, **kwargs: Any) -> None:
    _worker.end(request.id, "expired" if expired else "cancelled", unless_held=_held_of(request))


def _unknown(message: Any, id: str, name: str, **kwargs: Any) -> None:
    identity = _identity((message.headers or {}).get(header.NAME), id)
    if identity is not None:
        reference = reference_for(LookupError(f"no task is named {name}"), identity)
        _worker.end(id, "failed", unless_held=Held(identity), error_reference=reference)


# The task


def _prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    request = task.request
    eager = bool(request.is_eager)
    outer = current_run() if eager else None
    identity = _identity_of(request, task_id) or (_eager_identity(task, task_id, outer) if eager else None)
    if identity is None:
        enter(None, nested=eager)
        return
    here = Here(
        identity,
        attempt=_attempt(request.retries),
        execution=new_execution(),
        worker=writer.worker,
        eager=eager and writer.worker is None,
    )
    enter(here, nested=eager)
    here.tell(here.fact("started", worker=here.worker, acks_late=bool(task.acks_late)))


def _success(sender: Any, **kwargs: Any) -> None:
    here = current_run()
    if here is not None and here.identity.task_id == sender.request.id:
        here.tell(here.ending("succeeded", result=here.result))


def _failure(task_id: str, exception: BaseException, **kwargs: Any) -> None:
    here = _here(task_id)
    if here is not None:
        here.tell(here.ending("failed", **told(exception, here.identity)))
    else:
        identity = _worker.identity_of(task_id)
        if identity is not None:
            _worker.end(task_id, "failed", **told(exception, identity))


def _retry(request: Any, reason: Any, einfo: Any = None, **kwargs: Any) -> None:
    here = _here(request.id)
    if here is not None:
        here.tell(here.fact("retrying", next_attempt_at=_seconds(getattr(reason, "when", None))))
    elif einfo is None:  # "cancelled by Celery" in a cold shutdown: nothing will ever try it again
        _worker.end(request.id, "lost", unless_held=_held_of(request))


def _postrun(task_id: str, state: str | None = None, **kwargs: Any) -> None:
    here = _here(task_id)
    if here is not None and state == IGNORED and not here.republished:
        here.tell(here.ending("succeeded", result=here.result))
    leave()


def _eager_identity(task: Any, task_id: str, outer: Here | None) -> Identity | None:
    """An eager task was never published; whoever calls it is its owner."""
    if outer is not None and outer.identity.task_id == task_id:  # replace() runs inside what it replaces
        return outer.identity
    identity = _new_identity(task.name, task_id, None, outer) if not task.name.startswith(BUILT_IN) else None
    if identity is not None:  # retry() copies the headers
        task.request.headers = {**(task.request.headers or {}), header.NAME: header.sign(identity)}
    return identity


def _here(task_id: str) -> Here | None:
    here = current_run()
    return here if here is not None and here.identity.task_id == task_id else None


def _held_of(request: Any) -> Held | None:
    """Return what the request itself tells: a task that is dead on arrival was never noted as received."""
    identity = _identity_of(request, request.id)
    return Held(identity, _attempt(getattr(request, "retries", 0))) if identity is not None else None


def _identity_of(request: Any, task_id: str) -> Identity | None:
    custom = getattr(request, "headers", None) or {}
    return _identity(getattr(request, header.NAME, None) or custom.get(header.NAME), task_id)


def _identity(text: Any, task_id: str) -> Identity | None:
    if not isinstance(text, str):
        return None
    try:
        return header.read(text, task_id)
    except header.ForgedHeader:
        header.note_forgery(task_id)
        return None


def _attempt(retries: Any) -> int:
    """Return which attempt this is, from 1; the header with the number of retries is not ours and not signed."""
    return min(retries, MOST_RETRIES) + 1 if isinstance(retries, int) and retries > 0 else 1


def _seconds(when: Any) -> float | None:
    """Return a moment as seconds of the epoch: ISO text, a datetime, or a number of seconds from now."""
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            return None
    if isinstance(when, timedelta):
        when = when.total_seconds()
    if isinstance(when, int | float):
        return time.time() + when
    if isinstance(when, datetime):
        return (when if timezone.is_aware(when) else timezone.make_aware(when)).timestamp()
    return None


_HANDLERS: Final = {
    "before_task_publish": _before_publish,
    "after_task_publish": _after_publish,
    "worker_init": _worker_init,
    "worker_shutdown": _worker_shutdown,
    "task_received": _received,
    "task_revoked": _revoked,
    "task_unknown": _unknown,
    "task_prerun": _prerun,
    "task_success": _success,
    "task_failure": _failure,
    "task_retry": _retry,
    "task_postrun": _postrun,
}
