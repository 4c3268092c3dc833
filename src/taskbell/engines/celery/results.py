"""What the result backend knows of how a task ended."""

import time
from datetime import UTC, datetime
from typing import Final

from celery import current_app
from celery.result import AsyncResult
from celery.states import FAILURE, REVOKED, SUCCESS

from taskbell.runs.failure import reference_for
from taskbell.runs.states import Fact, Kind, Run

_KINDS: Final[dict[str, Kind]] = {SUCCESS: "succeeded", FAILURE: "failed", REVOKED: "cancelled"}


def knows_application() -> bool:
    """Tell whether the project's application is the current one, and not the one that Celery makes up without it."""
    return bool(current_app.set_as_current or current_app.main != "default")


def ending_of(run: Run) -> Fact | None:
    """Return the stored ending, None if there is none; may raise and may take long."""
    result = AsyncResult(run.identity.task_id, app=current_app)
    kind = _KINDS.get(result.state)
    if kind is None or _is_older(result, run):
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


def _is_older(result: AsyncResult, run: Run) -> bool:
    """Whether it was stored before the run began: callers use ids again, and Celery never replaces a stored success."""
    done_at = result.date_done
    if not isinstance(done_at, datetime) or run.started_at is None:
        return False
    return (done_at if done_at.tzinfo is not None else done_at.replace(tzinfo=UTC)).timestamp() < run.started_at
