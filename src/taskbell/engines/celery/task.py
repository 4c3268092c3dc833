"""Where a task runs: in a pool child, in the main process of solo and threads pools, or in its caller when eager."""

from typing import Any

from celery.states import IGNORED

from taskbell.engines.celery import main_process
from taskbell.engines.celery.messages import attempt_of, identity_of, seconds_of
from taskbell.engines.celery.publishing import eager_identity
from taskbell.runs.failure import told
from taskbell.runs.here import Here, current_run, enter, leave, new_execution
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
        here.tell(here.ending("failed", **(told(exception, here.identity) if here.identity.is_told else {})))
    else:
        main_process.failed(task_id, exception)


def retry(request: Any, reason: Any, einfo: Any = None, **kwargs: Any) -> None:
    """Tell when it will be tried again."""
    here = _here(request.id)
    if here is not None:
        here.tell(here.fact("retrying", next_attempt_at=seconds_of(getattr(reason, "when", None))))
    elif einfo is None:
        main_process.cut_off(request)


def postrun(task_id: str, state: str | None = None, **kwargs: Any) -> None:
    """Stop working for the run; one that raised Ignore has told nothing yet."""
    here = _here(task_id)
    if here is not None and state == IGNORED and not here.republished:
        here.tell(here.ending("succeeded", result=here.result))
    leave()


def _here(task_id: str) -> Here | None:
    here = current_run()
    return here if here is not None and here.identity.task_id == task_id else None
