"""What changes a person's access is told to the gateways: Django's signals become control events.

A change that sends no signal (`QuerySet.update`, SQL by hand) is found out by the check every RECHECK seconds.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_out
from django.db import models, router
from django.db.models.signals import ModelSignal, m2m_changed, post_delete, post_save
from django.dispatch import Signal
from django.utils import timezone

from taskbell import faults
from taskbell.models import Outbox
from taskbell.store.control import ControlEvent, session_name, tell

# A group that changes by more people than this is told once, for everybody.
MOST_NAMED: Final = 50


def connect() -> None:
    """Listen to everything that ends access; called once, when all models are there."""
    account = get_user_model()
    _listen(user_logged_out, signed_out)
    for model in _and_those_built_on(account):
        _listen(post_save, account_saved, model)
        if model._meta.concrete_model is account:
            _listen(post_delete, account_deleted, model)
    for name in ("groups", "user_permissions"):
        if (field := getattr(account, name, None)) is not None and hasattr(field, "through"):
            _listen(m2m_changed, memberships_changed, field.through)
    _listen(post_save, group_saved, Group)
    _listen(post_delete, group_deleted, Group)
    _listen(m2m_changed, group_permissions_changed, Group.permissions.through)
    if (rows := session_rows()) is not None:
        _listen(post_delete, session_deleted, rows)


def signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    """Tell that a session ends. One with a row is told by the row: then it is gone when anybody hears of it."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if user is not None and key and session_rows() is None:
        tell([ControlEvent("ended", str(user.pk), session_name(key))], _outbox())


def session_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    """Tell that somebody's session is gone. The check noticed long ago that one had run out."""
    person = instance.get_decoded().get(SESSION_KEY) if instance.expire_date > timezone.now() else None
    if person is not None:
        tell([ControlEvent("ended", person, session_name(instance.session_key))], using)


def account_saved(
    instance: Any, created: bool, raw: bool, update_fields: Iterable[str] | None, using: str, **kwargs: Any
) -> None:
    """Tell that an account may have changed: its password, whether it is active, what a rule looks at."""
    instance._state.taskbell_raw = raw
    # Every sign-in saves `last_login`, and nobody's access hangs on it.
    if not created and not raw and set(update_fields or ()) != {"last_login"}:
        tell([ControlEvent("changed", str(instance.pk))], using)


def account_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    """Tell that an account is gone."""
    tell([ControlEvent("deleted", str(instance.pk))], using)


def memberships_changed(
    instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, using: str, **kwargs: Any
) -> None:
    """Tell whose groups or permissions changed."""
    if not _changed(instance, action, pk_set):
        return
    people: Iterable[Any] = [instance.pk] if not reverse else pk_set or ()
    named = [ControlEvent("changed", str(person)) for person in people]
    tell(named if 0 < len(named) <= MOST_NAMED else [EVERYBODY], using)


def group_saved(instance: Any, created: bool, raw: bool, using: str, **kwargs: Any) -> None:
    """Tell that a group may have another name now: anybody may be in it."""
    instance._state.taskbell_raw = raw
    if not created and not raw:
        tell([EVERYBODY], using)


def group_deleted(using: str, **kwargs: Any) -> None:
    """Tell that a group is gone."""
    tell([EVERYBODY], using)


def group_permissions_changed(instance: Any, action: str, pk_set: set[Any] | None, using: str, **kwargs: Any) -> None:
    """Tell that a group may do something else now."""
    if _changed(instance, action, pk_set):
        tell([EVERYBODY], using)


EVERYBODY: Final = ControlEvent("changed", None)


def _changed(instance: models.Model, action: str, pk_set: set[Any] | None) -> bool:
    """Whether a set of relations has just changed, and not by `loaddata`, which says so only of the object itself."""
    loaded = getattr(instance._state, "taskbell_raw", False)
    return action in ("post_add", "post_remove", "post_clear") and pk_set != set() and not loaded


def _listen(signal: Signal | ModelSignal, receiver: Callable[..., None], sender: Any = None) -> None:
    @wraps(receiver)
    def quietly(**kwargs: Any) -> None:
        try:
            receiver(**kwargs)
        except Exception:
            # What the project does goes on, and the check every RECHECK seconds finds it out.
            faults.exception("A change of access could not be told to the gateways.")

    signal.connect(quietly, sender=sender, weak=False, dispatch_uid=f"taskbell.{receiver.__name__}")


def _and_those_built_on(account: type[models.Model]) -> list[type[models.Model]]:
    """Return the account's model with its proxies and children: a signal names the class that was saved."""
    return [model for model in apps.get_models() if issubclass(model, account)]


def session_rows() -> type[models.Model] | None:
    """Return the model of the sessions, None where they are kept elsewhere."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    try:
        return store.get_model_class() if hasattr(store, "get_model_class") else None
    except RuntimeError:  # their app is not installed: nobody has one
        return None


def _outbox() -> str:
    return router.db_for_write(Outbox)
