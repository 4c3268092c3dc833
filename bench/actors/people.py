"""Creates signed-in people: one account and one session each. Writes one Cookie header value a line to a file."""

import argparse
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

import django

SESSION_AGE: Final = timedelta(days=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    django.setup()
    cookies = sign_in(options.count)
    options.file.write_text("".join(f"{cookie}\n" for cookie in cookies))
    json.dump(len(cookies), sys.stdout)


def sign_in(count: int) -> list[str]:
    """Create `count` accounts and sessions; return the cookies."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    model = get_user_model()
    people = [model(username=f"person{number}", password="!") for number in range(count)]  # "!": no password fits
    model.objects.bulk_create(people, batch_size=50)
    store, until = SessionStore(), timezone.now() + SESSION_AGE
    sessions = [
        Session(
            session_key=store._get_new_session_key(),
            expire_date=until,
            session_data=store.encode(
                {
                    SESSION_KEY: str(person.pk),
                    BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
                    HASH_SESSION_KEY: person.get_session_auth_hash(),
                }
            ),
        )
        for person in people
    ]
    Session.objects.bulk_create(sessions, batch_size=50)
    return [f"{settings.SESSION_COOKIE_NAME}={session.session_key}" for session in sessions]


if __name__ == "__main__":
    main()
