"""What the tests of the pusher stand on."""

import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from aiohttp.abc import ResolveResult
from django.contrib.auth.models import User
from django.utils import timezone

from taskbell.inbox.push.config import Config
from taskbell.inbox.push.endpoint import digest
from taskbell.inbox.push.pusher import Pusher
from taskbell.inbox.push.send import Post, PublicResolver
from taskbell.models import Notification, PushSubscription, Recipient
from tests.servers.push import PushService, Subscriber

# Addresses of the open internet, one of each kind. Nobody is called there.
PUBLIC = ("8.8.8.8", "2001:4860:4860::8888")


class Detour(PublicResolver):
    """Decides as the real one does; what it lets through leads to the test's own service."""

    def __init__(self, port: int, lookup: Callable[[str], Sequence[str]] = lambda host: PUBLIC) -> None:
        super().__init__(lookup)
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        [first, *_] = await super().resolve(host, port, family)
        assert (first["hostname"], first["port"], first["host"]) == (host, 443, PUBLIC[0])
        return [{**first, "host": "127.0.0.1", "port": self._port}]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A person, their browsers, and pushers."""

    def __init__(self, service: PushService) -> None:
        self.service = service
        self.ann = self.person("ann")
        self.clock = Clock()
        self.lookup: Callable[[str], Sequence[str]] = lambda host: PUBLIC
        self.pusher = self.another()

    def person(self, name: str, **fields: Any) -> Recipient:
        user = User.objects.create(username=name, **fields)
        return Recipient.objects.create(user_key=str(user.pk))

    def another(self, **options: Any) -> Pusher:
        """Return the pusher of one more gateway."""
        return Pusher(partial(self.post, **options), self.clock)

    def post(self, config: Config, tls: ssl.SSLContext | None = None, seconds: float = 10.0) -> Post:
        return Post(config, partial(Detour, self.service.port, self.lookup), tls or self.service.believing(), seconds)

    def browser(self, answer: object = 201, recipient: Recipient | None = None, **options: Any) -> Subscriber:
        browser = Subscriber(self.service.endpoint(answer, **options))
        PushSubscription.objects.create(
            recipient=(recipient or self.ann).id,
            endpoint=browser.endpoint,
            endpoint_sha256=digest(browser.endpoint),
            p256dh=browser.p256dh,
            auth=browser.auth,
            origin="https://mysite.example",
        )
        return browser

    def notification(self, recipient: Recipient | None = None, **fields: Any) -> Notification:
        """Return a notification that is due."""
        now = timezone.now()
        due = {"created_at": now - timedelta(seconds=10), "push_at": now - timedelta(seconds=1)}
        values = {"title": "Report ready", "body": "Three pages.", "url": "/reports/7/"} | due | fields
        return Notification.objects.create(recipient=(recipient or self.ann).id, **values)

    def step(self, pusher: Pusher | None = None) -> int:
        return (pusher or self.pusher).step("default")

    def received(self, browser: Subscriber) -> list[dict[str, Any]]:
        """Return the messages that a browser got, decrypted."""
        return [browser.open(one.body) for one in self.service.of(browser)]

    def due(self) -> list[Notification]:
        return list(Notification.objects.exclude(push_at=None))
