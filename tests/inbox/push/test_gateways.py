"""From `notify` in one process to a browser, by way of real gateways: one of them sends, once."""

import time
from collections.abc import Callable

import pytest

from taskbell import notify
from taskbell.inbox.push.endpoint import digest
from taskbell.inbox.push.keys import new_private
from taskbell.models import Notification, PushSubscription
from taskbell.store.people import channels_of
from tests.servers.project import Project
from tests.servers.push import PushService, Subscriber

pytestmark = [pytest.mark.proof, pytest.mark.parametrize("database", ["sqlite", "postgres"])]

MANY = 20


def test_of_several_gateways_one_sends(project: Callable[[str], Project], service: PushService, database: str) -> None:
    one = project(database)
    one.env |= {
        "DJANGO_SETTINGS_MODULE": "tests.inbox.push.settings",
        "PUSH_TEST_PORT": str(service.port),
        "PUSH_TEST_AUTHORITY": str(service.authority),
    }
    one.configure(PUSH={"PRIVATE_KEY": new_private(), "CONTACT": "mailto:ann@example.com"}, PUSH_AFTER=1)
    ann = one.person("ann")
    browser = Subscriber(service.endpoint(201))
    gone = Subscriber(service.endpoint(410))
    for subscriber in (browser, gone):
        PushSubscription.objects.create(
            recipient=channels_of([str(ann.pk)], "default")[str(ann.pk)].partition(":")[2],
            endpoint=subscriber.endpoint,
            endpoint_sha256=digest(subscriber.endpoint),
            p256dh=subscriber.p256dh,
            auth=subscriber.auth,
            origin="https://mysite.example",
        )
    gateways = [one.serve() for _ in range(2)]
    for number in range(MANY):
        notify(ann, f"Report {number}")
    deadline = time.monotonic() + 60
    while len(service.of(browser)) < MANY or Notification.objects.exclude(push_at=None).exists():
        assert time.monotonic() < deadline, [gateway.output()[-2_000:] for gateway in gateways]
        time.sleep(0.1)
    titles = [browser.open(one.body)["notification"]["title"] for one in service.of(browser)]
    assert sorted(titles) == sorted(f"Report {number}" for number in range(MANY))
    assert [row.endpoint for row in PushSubscription.objects.all()] == [browser.endpoint]
    assert all("APA91b" not in gateway.output() for gateway in gateways)
