"""What may happen to whoever has an open stream, and whether they may read on then."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from taskbell.gateway.access import Caller, Grant, Wish, authorize
from taskbell.models import Outbox, Recipient
from taskbell.store.forgotten import FORGET, forget

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
ALL_INACTIVE_TOO = "django.contrib.auth.backends.AllowAllUsersModelBackend"
SUSPENDING = "tests.gateway.odd_sessions.Suspending"


@dataclass
class Visit:
    """A person in their browser, with an open stream."""

    user: User
    browser: Client
    grant: Grant

    @property
    def key(self) -> str:
        return self.browser.cookies["sessionid"].value

    @property
    def rows(self) -> Any:
        return Session.objects.filter(pk=self.key)

    def store(self, **values: Any) -> None:
        """Write into the session, past its engine."""
        store = SessionStore(self.key)
        store.update(values)
        store.save()


def visit_of(name: str, wish: Wish | None = None, backend: str = MODEL_BACKEND) -> Visit:
    user, browser = User.objects.create_user(name, password="one"), Client()
    user.groups.add(Group.objects.get_or_create(name="editors")[0])
    browser.force_login(user, backend)
    grant = authorize(Caller(browser.cookies["sessionid"].value), wish or Wish())
    assert isinstance(grant, Grant)
    return Visit(user, browser, grant)


# What happens to an account, wherever its session is kept


def nothing(_: Visit) -> None:
    pass


def rename(visit: Visit) -> None:
    User.objects.filter(pk=visit.user.pk).update(username=f"{visit.user.username}2")


def change_password(visit: Visit) -> None:
    visit.user.set_password("two")
    visit.user.save()


def deactivate(visit: Visit) -> None:
    User.objects.filter(pk=visit.user.pk).update(is_active=False)


def suspend(visit: Visit) -> None:
    User.objects.filter(pk=visit.user.pk).update(first_name="suspended")


def leave_group(visit: Visit) -> None:
    visit.user.groups.clear()


def delete_account(visit: Visit) -> None:
    User.objects.get(pk=visit.user.pk).delete()


def delete_past_signals(visit: Visit) -> None:
    """As SQL by hand: the recipient stays."""
    visit.user.groups.clear()
    User.objects.filter(pk=visit.user.pk)._raw_delete("default")  # type: ignore[attr-defined]


def create_again(visit: Visit) -> None:
    """The same key, name and password: the old session fits, and the tick has not yet taken the recipient away."""
    delete_account(visit)
    User.objects.create(pk=visit.user.pk, username=visit.user.username, password=visit.user.password)
    assert visit.browser.session.get("_auth_user_id") == str(visit.user.pk)


def create_again_after_the_tick(visit: Visit) -> None:
    create_again(visit)
    rows = Outbox.objects.filter(kind=FORGET, user_key=visit.user.pk)
    forget(rows, "default")
    rows.delete()
    assert not Recipient.objects.filter(user_key=visit.user.pk).exists()


def create_again_and_read(visit: Visit) -> None:
    """The new account has a recipient of its own already."""
    create_again_after_the_tick(visit)
    Recipient.objects.create(user_key=str(visit.user.pk))


def sign_out(visit: Visit) -> None:
    visit.browser.logout()


# What happens to a session that is a row


def delete_session(visit: Visit) -> None:
    visit.rows.delete()
    cache.clear()


def run_out(visit: Visit) -> None:
    visit.rows.update(expire_date=timezone.now() - timedelta(seconds=1))
    cache.clear()


def nearly_run_out(visit: Visit) -> None:
    visit.rows.update(expire_date=timezone.now() + timedelta(minutes=1))


def spoil(visit: Visit) -> None:
    visit.rows.update(session_data="spoilt")
    cache.clear()


def block(visit: Visit) -> None:
    """Only the engine of the tests knows what that means."""
    visit.store(blocked=True)
    cache.clear()


def forget_hash(visit: Visit) -> None:
    visit.store(_auth_user_hash="")
    cache.clear()


def take_over(visit: Visit) -> None:
    """Another person's session under this key."""
    browser = Client()
    browser.force_login(User.objects.create_user(f"{visit.user.username}-other"), MODEL_BACKEND)
    theirs = browser.session
    visit.store(_auth_user_id=theirs["_auth_user_id"], _auth_user_hash=theirs["_auth_user_hash"])
    cache.clear()


def move_backend(visit: Visit) -> None:
    visit.store(_auth_user_backend="django.contrib.auth.backends.RemoteUserBackend")  # none of the project's
    cache.clear()


@dataclass(frozen=True)
class Case:
    """What happens to whom, and whether they read on."""

    happens: Callable[[Visit], None]
    stays: bool
    wish: Wish | None = None
    backend: str = MODEL_BACKEND

    def visit(self, number: int) -> Visit:
        name = f"person{number}"
        return visit_of(name, Wish(name) if self.wish is NAMED else self.wish, self.backend)


#: Stands for the person's own name.
NAMED = Wish("their name")
GROUP = Wish("group:editors")
TWO = Wish(channels=("group:editors", "public:news"))

OF_ACCOUNTS = [
    *(Case(nothing, True, wish) for wish in (None, NAMED, GROUP, TWO, Wish("public:news"))),
    *(Case(nothing, True, backend=backend) for backend in (ALL_INACTIVE_TOO, SUSPENDING)),
    *(Case(rename, True, wish) for wish in (None, GROUP)),
    Case(rename, False, NAMED),
    *(Case(change_password, False, wish) for wish in (None, NAMED, GROUP, TWO)),
    Case(change_password, True, Wish("public:news")),
    *(Case(deactivate, False, wish) for wish in (None, NAMED, GROUP, TWO)),
    *(Case(deactivate, False, backend=backend) for backend in (ALL_INACTIVE_TOO, SUSPENDING)),
    Case(suspend, True),
    *(Case(suspend, False, wish, backend=SUSPENDING) for wish in (None, NAMED, GROUP)),
    *(Case(leave_group, False, wish) for wish in (GROUP, TWO)),
    Case(leave_group, True),
    *(Case(delete_account, False, wish) for wish in (None, NAMED, GROUP, TWO)),
    Case(delete_past_signals, False),
    *(Case(create_again, False, wish) for wish in (None, NAMED, GROUP)),
    *(Case(create_again_after_the_tick, False, wish) for wish in (None, NAMED)),
    *(Case(create_again_and_read, False, wish) for wish in (None, NAMED)),
]
OF_ROWS = [
    *(Case(sign_out, False, wish) for wish in (None, GROUP)),
    *(Case(delete_session, False, wish) for wish in (None, NAMED, GROUP)),
    *(Case(run_out, False, wish) for wish in (None, GROUP)),
    Case(nearly_run_out, True),
    Case(spoil, False),
    Case(forget_hash, False),
    *(Case(take_over, False, wish) for wish in (None, NAMED, GROUP)),
    Case(move_backend, False),
]
