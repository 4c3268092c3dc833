"""Where a task runs: in a pool child, in the main process of solo and threads pools, or in its caller when eager."""

import sys
from typing import Any

from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.states import IGNORED, REJECTED

from taskbell.engines.celery import main_process
from taskbell.engines.celery.messages import attempt_of, identity_of, seconds_of
from taskbell.engines.celery.publishing import eager_identity
from taskbell.exceptions import PublicError
from taskbell.runs.failure import told
from taskbell.runs.here import Here, current_run, enter, leave, new_execution
from taskbell.runs.send import in_child
from taskbell.runs.writer import writer


def prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    """Begin to work for a run."""
    request = task.request
    eager = bool(request.is_eager)
    outer = current_run() if eager else None
    identity = identity_of(request, task_id) or (eager_identity(task, task_id, outer) if eager else None)
    if identity is None:
        enter(None, nested=eager)
        return
    here = Here(
        identity,
        attempt=attempt_of(request.retries),
        execution=new_execution(),
        worker=writer.worker,
        eager=eager and writer.worker is None,
    )
    enter(here, nested=eager)
    here.tell(here.fact("started", worker=here.worker, acks_late=bool(task.acks_late)))


def success(sender: Any, **kwargs: Any) -> None:
    """Tell the ending with what the task published."""
    here = _here(sender.request.id)
    if here is not None:
        here.tell(here.ending("succeeded", result=here.result))


def failure(task_id: str, exception: BaseException, **kwargs: Any) -> None:
    """Tell a failure; of a task that could not tell it itself, the main process hears here."""
    here = _here(task_id)
    if here is not None:
        _tell_failure(here, exception)
    else:
        main_process.failed(task_id, exception)


def retry(request: Any, reason: Any = None, einfo: Any = None, **kwargs: Any) -> None:
    """Tell when it will be tried again; the main process hears of a task whose child died or was called off."""
    here = _here(request.id)
    if here is not None:
        here.tell(
            here.fact("retrying", next_attempt_at=seconds_of(getattr(reason, "when", None)), **_why(here, reason))
        )
    elif einfo is not None:
        main_process.retried(request, reason)
    else:
        main_process.called_off(request)


def postrun(task_id: str, state: str | None = None, retval: Any = None, **kwargs: Any) -> None:
    """Stop working for the run, and tell what no other signal told."""
    here = _here(task_id)
    if here is not None and not here.concluded:
        if state == IGNORED:
            _tell_ignored(here)
        elif state == REJECTED:
            _tell_rejected(here, retval)
        else:
            _tell_broken_off(here, sys.exception())
    leave()


def _why(here: Here, reason: Any) -> dict[str, Any]:
    """Return what was said for the owner. A reference for each attempt would be noise: the last failure has one."""
    cause = getattr(reason, "exc", None)
    return told(cause, here.identity) if isinstance(cause, PublicError) and here.identity.is_told else {}


def _tell_ignored(here: Here) -> None:
    if here.replaced:
        here.tell(here.fact("queued"))
    elif not here.republished:
        here.tell(here.ending("succeeded", result=here.result))


def _tell_rejected(here: Here, reject: Any) -> None:
    """Tell a failure, unless the broker shall hand the task out again; whether it does, the main process sees."""
    if here.eager or not reject.requeue:
        _tell_failure(here, reject.reason if isinstance(reject.reason, BaseException) else reject)
    elif not in_child():
        main_process.broken_off(here.identity.task_id)


def _tell_broken_off(here: Here, exception: BaseException | None) -> None:
    """Tell a failure outside the task's own code, such as a result backend that is gone, or one that is no Exception.

    A pool child was perhaps told to die, for which the main process knows the reason.
    """
    if isinstance(exception, Exception) or (exception is not None and not in_child() and not _is_shutdown(exception)):
        _tell_failure(here, exception)
    elif not in_child():
        main_process.broken_off(here.identity.task_id)


def _is_shutdown(exception: BaseException) -> bool:
    return isinstance(exception, WorkerShutdown | WorkerTerminate)


def _tell_failure(here: Here, exception: BaseException) -> None:
    here.tell(here.ending("failed", **(told(exception, here.identity) if here.identity.is_told else {})))


def _here(task_id: str) -> Here | None:
    here = current_run()
    return here if here is not None and here.identity.task_id == task_id else None
