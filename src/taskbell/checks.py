"""System checks: what is misconfigured, and what to type instead. None of them asks the database."""

import ipaddress
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.urls import NoReverseMatch, reverse

from taskbell import conf
from taskbell.inbox.push.config import complaints, is_installed
from taskbell.models import Outbox
from taskbell.wakeups import kind

TAG: Final = "taskbell"

# Below 5 s pings are traffic; the shortest idle limit on the way (Heroku's 55 s) leaves 45 s and a fifth of jitter.
PING_SECONDS: Final = range(5, 46)
# None of these at all is a choice; of everything else it would be a loop without a pause, or a door that is shut.
MAY_BE_ZERO: Final = frozenset({"DRAIN", "PUSH_AFTER", "REPLAY_LIMIT", "WINDOW_BYTES"})
PUSH_HINT: Final = "`manage.py taskbell vapid-keys` prints a new key, and what to write where."
# What SQLite's transactions may begin with. Both take the write lock at once.
LOCKING_MODES: Final = frozenset({"IMMEDIATE", "EXCLUSIVE"})

Apps = Sequence[AppConfig] | None


@register(TAG, Tags.compatibility)
def check_transaction_mode(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E001: on SQLite a transaction that reads and then writes fails at once when somebody wrote in between."""
    alias = router.db_for_write(Outbox)
    connection = connections[alias]
    # A database in memory belongs to one process: no gateway ticks beside it.
    if connection.vendor != "sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return []
    mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED")
    if mode.upper() in LOCKING_MODES:
        return []
    return [
        Error(
            f"The SQLite database {alias!r} begins its transactions as readers. Beside a gateway that numbers events, "
            "transactions that read and then write fail with `database is locked`: 249 of 300 did when measured.",
            hint=f'Write into DATABASES[{alias!r}]: "OPTIONS": {{"transaction_mode": "IMMEDIATE"}}.',
            id="taskbell.E001",
        )
    ]


# Whether a gateway runs beside this process cannot be seen from here. So nobody is nagged at every start: the question
# is asked by `check --deploy`, and whoever has answered it silences it there.
@register(TAG, Tags.compatibility, deploy=True)
def check_server(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W002: under WSGI Django itself serves no streams; with DEBUG the development view does."""
    if settings.DEBUG or not getattr(settings, "WSGI_APPLICATION", None) or hasattr(settings, "ASGI_APPLICATION"):
        return []
    return [
        Warning(
            "This project runs under WSGI, which serves no streams in production.",
            hint="Run `manage.py taskbell serve` beside it and let the proxy send the streams there, or serve the "
            "project by ASGI with `application = EventsMiddleware(get_asgi_application())`. "
            'If a gateway runs already: SILENCED_SYSTEM_CHECKS = ["taskbell.W002"].',
            id="taskbell.W002",
        )
    ]


@register(TAG, Tags.compatibility)
def check_settings(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E003 to W006: the dict TASKBELL itself, its keys and its values."""
    written = getattr(settings, conf.NAME, {})
    if not isinstance(written, dict):
        message = f"{conf.NAME} is a {type(written).__name__}, and nothing in it is used."
        return [Error(message, hint='Write a dict: TASKBELL = {"PING": 20}.', id="taskbell.E003")]
    found: list[CheckMessage] = []
    for key, value in written.items():
        if key not in conf.DEFAULTS:
            found.append(_unknown(key))
        elif complaint := _complaint(key, value):
            found.append(Error(f"{conf.NAME}[{key!r}] {complaint}.", hint=conf.HELP[key], id="taskbell.E005"))
        elif key == "PING" and value not in PING_SECONDS:
            found.append(_unheard(value))
    return found


@register(TAG, Tags.compatibility, deploy=True)
def check_open_files(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W007: every stream is an open file, and `serve` cannot raise the hard limit."""
    from taskbell.gateway.files import BESIDE_STREAMS

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _streams_per_process() + BESIDE_STREAMS
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return []
    return [
        Warning(
            f"This process may open {hard:,} files; a gateway with STREAMS_PER_PROCESS streams needs {needed:,}.",
            hint=f"Raise the limit where the gateway is started (systemd: LimitNOFILE={needed}, "
            f"Docker: --ulimit nofile={needed}), or lower STREAMS_PER_PROCESS.",
            id="taskbell.W007",
        )
    ]


# Importing a server at every command would be a high price for a warning; `serve` asks for itself.
@register(TAG, Tags.compatibility, deploy=True)
def check_uvicorn(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W008: the stream protocol leans on internals of uvicorn, so it knows the versions it was tested with."""
    # A worker or a WSGI server without uvicorn serves no streams, and need not.
    if find_spec("uvicorn") is None:
        return []
    trouble = uvicorn_trouble()
    hint = "pip install 'taskbell[serve]' installs the versions that belong together."
    return [Warning(trouble, hint=hint, id="taskbell.W008")] if trouble else []


def uvicorn_trouble() -> str:
    """Return what is wrong with the uvicorn that is installed; empty if nothing is."""
    try:
        from taskbell.gateway.detach import knows_uvicorn
    except ImportError as error:
        return f"The gateway cannot use the uvicorn that is installed: {error}"
    if knows_uvicorn():
        return ""
    import uvicorn

    return f"Taskbell's stream protocol was not tested with uvicorn {uvicorn.__version__}."


@register(TAG, Tags.urls)
def check_urls(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W009: streams have an address only if the URLconf gives them one."""
    # A project without a URLconf, as some workers are, serves nothing at all.
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("taskbell-events:own")
    except NoReverseMatch:
        return [
            Warning(
                "Streams have no address in the URLconf.",
                hint='Add path("events/", include("taskbell.urls.events")) to ROOT_URLCONF.',
                id="taskbell.W009",
            )
        ]
    return []


@register(TAG, Tags.compatibility)
def check_wakeup(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E010: a wakeup that cannot be used here."""
    try:
        kind(router.db_for_write(Outbox))
    except ImproperlyConfigured as error:
        return [Error(str(error), hint='"auto" suits every database.', id="taskbell.E010")]
    return []


@register(TAG, Tags.compatibility)
def check_push(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E020, E021: Web Push that is asked for and cannot be sent. Nothing of a value is repeated: one is a secret."""
    push: Any = conf.current().PUSH
    if not isinstance(push, Mapping) or not push:
        return []  # a value of another kind is told by another check
    found: list[CheckMessage] = [
        Error(f"{conf.NAME}['PUSH'] {complaint}.", hint=PUSH_HINT, id="taskbell.E020") for complaint in complaints(push)
    ]
    if not is_installed():
        hint = "pip install 'taskbell[push]'"
        found.append(Error(f"{conf.NAME}['PUSH'] wants packages that are missing.", hint=hint, id="taskbell.E021"))
    return found


@register(TAG, Tags.urls)
def check_push_urls(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W022: browsers subscribe at an address of the API."""
    if not conf.current().PUSH or not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("taskbell:push")
    except NoReverseMatch:
        return [
            Warning(
                f"{conf.NAME}['PUSH'] is set, and the URLconf has no address at which browsers could subscribe.",
                hint='Add path("taskbell/", include("taskbell.urls.api")) to ROOT_URLCONF.',
                id="taskbell.W022",
            )
        ]
    return []


@register(TAG, Tags.compatibility)
def check_celery_app(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W011: a process that knows no Celery application of the project can ask no result backend, and cancel nothing."""
    if find_spec("celery") is None or not conf.current().TASKS:
        return []
    from taskbell.engines.celery.results import knows_application

    if knows_application():
        return []
    return [
        Warning(
            "Celery is installed and TASKBELL['TASKS'] lists tasks, but this process knows no Celery application. "
            "So the gateway cannot ask the result backend what became of a task whose worker died, nor cancel one.",
            hint="Import it in the project's __init__.py, as Celery's documentation has it: "
            "`from .celery import app as celery_app`. If the tasks are no Celery tasks: "
            'SILENCED_SYSTEM_CHECKS = ["taskbell.W011"].',
            id="taskbell.W011",
        )
    ]


def _unknown(key: object) -> CheckMessage:
    meant = conf.nearest(key) if isinstance(key, str) else None
    hint = f"Did you mean {meant!r}?" if meant else f"The keys are {', '.join(conf.DEFAULTS)}."
    return Error(f"{conf.NAME} has no key {key!r}.", hint=hint, id="taskbell.E004")


def _unheard(seconds: int) -> CheckMessage:
    first, last = PING_SECONDS[0], PING_SECONDS[-1]
    return Warning(
        f"{conf.NAME}['PING'] is {seconds}: under {first} s pings are mere traffic, "
        f"over {last} s proxies take a quiet stream for a dead one.",
        hint=f"Write {first} to {last}, or leave it out for {conf.DEFAULTS['PING']}.",
        id="taskbell.W006",
    )


def _complaint(key: str, value: Any) -> str:
    """Return what is wrong with a value, to be read after its name; empty if nothing is."""
    kinds = KINDS[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        return f"is {_a(type(value))}, not {' or '.join(_a(one) for one in kinds)}"
    if isinstance(value, int):
        least = 0 if key in MAY_BE_ZERO else 1
        return f"is {value}, and {least} is the least" if value < least else ""
    if key == "TRUSTED_PROXIES":
        return "; ".join(_bad_networks(value))
    # The names of hooks are tried; WAKEUP has a check of its own.
    return _bad_hook(value) if isinstance(value, str) and Callable in kinds else ""


def _bad_hook(path: str) -> str:
    try:
        hook = conf.resolve(path)
    except ImportError as error:
        return f"names nothing that can be imported: {error}"
    return "" if callable(hook) else f"names {path}, which cannot be called"


def _bad_networks(networks: Sequence[Any]) -> Iterator[str]:
    for network in networks:
        try:
            ipaddress.ip_network(str(network), strict=False)
        except ValueError:
            yield f"holds {network!r}, which is no address and no network"


def _streams_per_process() -> int:
    streams: Any = conf.current().STREAMS_PER_PROCESS
    # A value that is no number is told by another check.
    return streams if isinstance(streams, int) else int(conf.DEFAULTS["STREAMS_PER_PROCESS"])


def _kinds(hint: Any) -> tuple[Any, ...]:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(part) or part for part in parts)


def _a(kind: Any) -> str:
    return _NAMES.get(kind) or f"a {kind.__name__}"


_NAMES: Final[dict[Any, str]] = {int: "a whole number", str: "a string", type(None): "None", Callable: "a callable"}

#: What a value of each key may be an instance of.
KINDS: Final[dict[str, tuple[Any, ...]]] = {name: _kinds(hint) for name, hint in get_type_hints(conf.Settings).items()}
