"""The one dict `TASKBELL` of a project's settings, as a typed value read at use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

NAME: Final = "TASKBELL"
MIB: Final = 1024 * 1024


def _setting(default: Any, help: str) -> Any:
    return field(default_factory=lambda: default, metadata={"help": help})


def _secret(default: Any, help: str) -> Any:
    """A setting that stands in no text made of all of them."""
    return field(default_factory=lambda: default, metadata={"help": help}, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every key of `TASKBELL` with its default; ages and intervals are whole seconds."""

    TASKS: Mapping[str, str] = _setting(
        {}, "Patterns of task names that people may see, and what each is called; empty shows none."
    )
    OWNER: Callable[..., Any] | str | None = _setting(
        None, "`(HttpRequest) → user | None`, or its dotted path: for whom a request enqueues. Default: its user."
    )
    SIGNING_KEY: str | None = _secret(None, "Signs the header that travels with a task. Default: Django's SECRET_KEY.")
    AUTHORIZE: Callable[..., bool] | str | None = _setting(
        None, "`(user, channel) → bool`, or its dotted path: who may read a channel that is not `public:*`."
    )
    AUTHENTICATE: Callable[..., Any] | str | None = _setting(
        None, "`(HttpRequest) → user | None`, or its dotted path: who opens a stream. Default: the session's user."
    )
    WAKEUP: str = _setting("auto", "`auto`, `poll`, `postgres` or a `redis://` address: how writers wake the gateways.")
    POLL: int = _setting(1, "Look at the outbox and the log at least this often, with every wakeup dead.")
    EVENT_AGE: int = _setting(86_400, "How long an event can be replayed, counted from its number.")
    RUN_AGE: int = _setting(2_592_000, "How long an ended run is kept.")
    NOTIFICATION_AGE: int = _setting(7_776_000, "How long a notification stays in its person's inbox.")
    PUSH_AFTER: int = _setting(10, "A notification that nobody has seen after this is due as Web Push.")
    LANGUAGE: Callable[..., str | None] | str | None = _setting(
        None, "`(user) → language code | None`, or its path: in which language a lazy title is for them."
    )
    OUTBOX_LIMIT: int = _setting(
        1_000_000, "Rows waiting before `status` and `doctor` complain; `publish` never refuses."
    )
    LEASE: int = _setting(30, "A worker without a sign of life for this long is dead, and its runs are lost.")
    LATE_AFTER: int = _setting(60, "A run that has not started after this is called late.")
    QUEUE_LIMIT: int = _setting(86_400, "A run that has not started after this is lost.")
    PROGRESS_RATE: int = _setting(4, "Progress of one run is sent at most this often a second.")
    ERROR_REFERENCE: Callable[..., str] | str | None = _setting(
        None, "`(exception) → str`, or its dotted path: what a person is told to quote. Default: a short random one."
    )
    PING: int = _setting(20, "A sign of life on every stream this often, give or take a fifth; 5 to 45.")
    STREAM_AGE: int = _setting(1_800, "A stream is closed at this age, give or take a fifth, and comes back.")
    DRAIN: int = _setting(20, "How long a stopping gateway takes to say `bye` to all its streams.")
    RECHECK: int = _setting(60, "May this person still read that? Asked again this often.")
    REPLAY_LIMIT: int = _setting(1_000, "More missed events than this are not replayed; the page gets one `reset`.")
    STREAMS_PER_PERSON: int = _setting(10, "The oldest stream of a person says `bye` when one more is opened.")
    STREAMS_PER_ADDRESS: int = _setting(
        200, "More streams from one address (of IPv6, one /64 network) are refused with 503."
    )
    STREAMS_PER_PROCESS: int = _setting(20_000, "More streams in one process are refused with 503.")
    CHANNELS_PER_STREAM: int = _setting(100, "A stream that asks for more channels is refused with 400.")
    WINDOW_BYTES: int = _setting(16 * MIB, "Recent frames kept in memory, so that reconnecting asks no database.")
    STALLED: int = _setting(
        30, "A stream whose reader takes nothing for this long is cut; it resumes where it stopped."
    )
    HEADER_BYTES: int = _setting(16_384, "A request head over this is refused.")
    HEADER_TIME: int = _setting(10, "A request head that takes longer than this is cut.")
    TRUSTED_PROXIES: tuple[str, ...] | list[str] = _setting(
        (), "Addresses or networks whose `X-Forwarded-For` is believed."
    )
    PUSH: Mapping[str, Any] = _secret(
        {}, "Web Push: `PRIVATE_KEY` (or the path of its file), `CONTACT` and, rarely, `HOSTS`; empty sends none."
    )


DEFAULTS: Final[dict[str, Any]] = {f.name: getattr(Settings(), f.name) for f in fields(Settings)}
HELP: Final[dict[str, str]] = {f.name: f.metadata["help"] for f in fields(Settings)}


@cache
def current() -> Settings:
    """Return the project's settings; unknown keys are left to the system check."""
    return Settings(**{key: value for key, value in written().items() if key in DEFAULTS})


def written() -> Mapping[str, Any]:
    """Return the dict as the project wrote it."""
    value = getattr(django_settings, NAME, {})
    return value if isinstance(value, Mapping) else {}


def nearest(key: str) -> str | None:
    """Return the name that was probably meant by an unknown key."""
    return next(iter(get_close_matches(key.upper(), DEFAULTS, n=1)), None)


def resolve(hook: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
    """Return the callable that a hook setting names."""
    return import_string(hook) if isinstance(hook, str) else hook


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == NAME:
        current.cache_clear()


setting_changed.connect(_forget, dispatch_uid="taskbell.conf")
