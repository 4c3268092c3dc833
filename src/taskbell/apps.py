from functools import partial
from importlib.util import find_spec

from django.apps import AppConfig


class TaskbellConfig(AppConfig):
    name = "taskbell"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from taskbell import checks, receivers  # noqa: F401  (importing `checks` registers them)

        receivers.connect()
        _register_folds()
        _register_loops()
        _register_engines()


def _register_folds() -> None:
    from taskbell.inbox.fold import InboxFold
    from taskbell.inbox.notify import NOTIFY
    from taskbell.inbox.rows import SEEN
    from taskbell.runs.facts import RUN
    from taskbell.runs.fold import RunFold
    from taskbell.store import folds
    from taskbell.store.control import ForgetFold
    from taskbell.store.forgotten import FORGET

    folds.register(RUN, RunFold())
    folds.register(FORGET, ForgetFold())
    inbox = InboxFold()
    folds.register(NOTIFY, inbox)
    folds.register(SEEN, inbox)


def _register_loops() -> None:
    from taskbell.announcer import STEP_SECONDS as SIGNALS_SECONDS
    from taskbell.announcer import Announcer
    from taskbell.engines.base import cancel, probe
    from taskbell.inbox.prune import prune_notifications
    from taskbell.inbox.push.pusher import STEP_SECONDS as PUSH_SECONDS
    from taskbell.inbox.push.pusher import Pusher
    from taskbell.runs.cancel import STEP_SECONDS as CANCEL_SECONDS
    from taskbell.runs.cancel import Cancels
    from taskbell.runs.prune import prune_runs
    from taskbell.runs.reaper import STEP_SECONDS, Reaper
    from taskbell.store.backlog import MEASURE_SECONDS, measure
    from taskbell.store.clock import PatientClock
    from taskbell.store.erase import STEP_SECONDS as ERASE_SECONDS
    from taskbell.store.erase import erase
    from taskbell.store.gone import STEP_SECONDS as GONE_SECONDS
    from taskbell.store.gone import Gone
    from taskbell.store.loops import Loop, register
    from taskbell.store.prune import PRUNE_SECONDS, prune

    register(Loop(name="backlog", seconds=MEASURE_SECONDS, step=measure))
    # One for all: the reaper looks at it every second, so that it is seen being set from the start.
    clock = PatientClock()
    register(Loop(name="prune", seconds=PRUNE_SECONDS, step=partial(prune, clock=clock)))
    register(Loop(name="prune-runs", seconds=PRUNE_SECONDS, step=partial(prune_runs, clock=clock)))
    register(Loop(name="prune-inboxes", seconds=PRUNE_SECONDS, step=partial(prune_notifications, clock=clock)))
    register(Loop(name="erase", seconds=ERASE_SECONDS, step=erase))
    register(Loop(name="gone", seconds=GONE_SECONDS, step=Gone(clock).step))
    register(Loop(name="cancel", seconds=CANCEL_SECONDS, step=Cancels(cancel).step))
    register(Loop(name="signals", seconds=SIGNALS_SECONDS, step=Announcer().step))
    register(Loop(name="push", seconds=PUSH_SECONDS, step=Pusher().step))
    register(Loop(name="reaper", seconds=STEP_SECONDS, step=Reaper(probe, wall=clock).step))


def _register_engines() -> None:
    from taskbell.engines.base import register

    if find_spec("celery") is not None:
        from taskbell.engines.celery import Celery

        register(Celery())
