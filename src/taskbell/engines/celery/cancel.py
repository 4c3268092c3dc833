"""Cancelling: every message carries its run as a stamp, the gateway names stamps, and workers stop what carries them.

By stamp and not by the task's id, which callers may use again. A remote control command of our own, because Celery's
leaves a task alone that waits for its time or for a free child, has pools raise that cannot stop a task, and grows.
"""

from collections.abc import Sequence
from typing import Any, Final

from celery import current_app

from taskbell.engines.celery import requests
from taskbell.runs.states import Identity, Run

STAMP: Final = "taskbell"
COMMAND: Final = "taskbell_cancel"
# What a worker remembers; the gateway tells it again what has not ended.
MOST_REMEMBERED: Final = 1_000
CONNECT_SECONDS: Final = 4.0


# Publishing


def stamp(headers: dict[str, Any], identity: Identity | None) -> None:
    """Stamp a message with its run and the tree it is in, beside the stamps it has; another task's are taken off."""
    before: dict[str, Any] = headers.get("stamps") or {}
    runs = _stoppable(identity) if identity is not None else []
    if not runs and STAMP not in before:
        return
    ours = {STAMP: runs} if runs else {}
    headers["stamps"] = {name: value for name, value in before.items() if name != STAMP} | ours
    headers["stamped_headers"] = [name for name in headers.get("stamped_headers") or () if name != STAMP] + list(ours)


def _stoppable(identity: Identity) -> list[str]:
    """Return the runs that have this task stopped when they are cancelled."""
    own = [identity.run] if identity.is_shown else []
    return [*own, identity.in_tree] if identity.in_tree else own


# The gateway


def tell_workers(runs: Sequence[Run], workers: Sequence[str]) -> None:
    """Tell the workers of these names what to stop; raises if the broker is away."""
    # Other projects' workers at the same broker do not know the command.
    arguments = {"runs": [run.identity.run for run in runs]}
    with current_app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
        connection.connect()  # once; what follows would try for ever
        current_app.control.broadcast(COMMAND, arguments, destination=list(workers), connection=connection)


def reach_broker() -> None:
    """Connect to the broker, or raise."""
    with current_app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
        connection.connect()


# The worker's main process


def listen() -> None:
    """Have this worker know the command."""
    from celery.worker.control import control_command

    control_command(name=COMMAND, visible=False)(_cancel)


def _cancel(state: Any, runs: Sequence[str], **kwargs: Any) -> dict[str, str]:
    """Refuse what comes with one of these stamps from now on, and stop what is here."""
    wanted = set(runs)
    _remember(runs)
    pool = state.consumer.pool
    for request in requests.kept():
        if wanted.intersection((request.stamps or {}).get(STAMP) or ()):
            _stop(request, pool)
    return {"ok": f"{len(wanted)} runs are cancelled"}


def _remember(runs: Sequence[str]) -> None:
    """Note stamps where Celery looks when it hands a task to the pool."""
    from celery.worker.state import revoked_stamps

    known = revoked_stamps.get(STAMP, [])
    revoked_stamps[STAMP] = [*(run for run in known if run not in runs), *runs][-MOST_REMEMBERED:]


def _stop(request: Any, pool: Any) -> None:
    if request.time_start is None and request._apply_result is None:
        _refuse(request)
    elif _can_terminate(pool) and not request._already_revoked:
        request.terminate(pool)


def _refuse(request: Any) -> None:
    """Refuse now what waits for its time, for a free child or for its turn by a rate limit."""
    if not request.acknowledged and request.revoked():
        # Its turn comes all the same, and Celery forgets a request when it refuses it then.
        request._already_revoked = False


def _can_terminate(pool: Any) -> bool:
    """Whether a signal to the child meets this task alone.

    A fair pool gives a child its next task only when it knows of the end of the last. Threads cannot be stopped.
    """
    from celery.concurrency.asynpool import SCHED_STRATEGY_FAIR

    return bool(getattr(getattr(pool, "_pool", None), "sched_strategy", None) == SCHED_STRATEGY_FAIR)
