"""The worker's main process: what it tells of tasks that cannot tell it themselves."""

from typing import Any, Final

from taskbell.engines.celery import cancel, requests
from taskbell.engines.celery.messages import attempt_of, identity_in, identity_of
from taskbell.runs import header
from taskbell.runs.failure import reference_for, told
from taskbell.runs.send import serve_children
from taskbell.runs.worker import Held, Worker
from taskbell.runs.writer import writer

_worker: Final = Worker()


def begin(sender: Any, **kwargs: Any) -> None:
    """Be a worker's main process."""
    writer.beat_as(str(getattr(sender, "hostname", "") or "celery"))
    serve_children(_worker.take)
    cancel.listen()


def finish(**kwargs: Any) -> None:
    """Write what waits."""
    writer.finish()


def received(request: Any, **kwargs: Any) -> None:
    """Hold a run from now on."""
    identity = identity_in((request.message.headers or {}).get(header.NAME), request.id)
    if identity is None:
        return
    requests.keep(identity, request)
    if identity.is_told:
        _worker.hold(identity, attempt=attempt_of(request.request_dict.get("retries")))


def revoked(request: Any, expired: bool, **kwargs: Any) -> None:
    """Tell what was called off, or came too late."""
    _worker.end(request.id, "expired" if expired else "cancelled", unless_held=_held_of(request))


def unknown(message: Any, id: str, name: str, **kwargs: Any) -> None:
    """Tell the failure of a task that this worker has no code for."""
    identity = identity_in((message.headers or {}).get(header.NAME), id)
    if identity is not None and identity.is_told:
        reference = reference_for(LookupError(f"no task is named {name}"), identity)
        _worker.end(id, "failed", unless_held=Held(identity), error_reference=reference)


def failed(task_id: str, exception: BaseException) -> None:
    """Tell the failure of a task whose child died, or took too long."""
    identity = _worker.identity_of(task_id)
    if identity is not None:
        _worker.end(task_id, "failed", **told(exception, identity))


def cut_off(request: Any) -> None:
    """Tell the loss of a task "cancelled by Celery" in a cold shutdown: nothing will ever try it again."""
    _worker.end(request.id, "lost", unless_held=_held_of(request))


def _held_of(request: Any) -> Held | None:
    """Return what the request itself tells: a task that is dead on arrival was never noted as received."""
    identity = identity_of(request, request.id)
    if identity is None or not identity.is_told:
        return None
    return Held(identity, attempt_of(getattr(request, "retries", 0)))
