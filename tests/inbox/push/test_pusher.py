"""What becomes of a notification that no page took, by a push service that answers in every way there is."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils import timezone

from taskbell import counts, notify
from taskbell.inbox.push.keys import public_of
from taskbell.inbox.push.pusher import CLAIM_SECONDS, LONGEST_PAUSE, MOST_LETTERS, PAUSES
from taskbell.inbox.read import mark
from taskbell.inbox.rows import Mark
from taskbell.models import Notification, PushSubscription
from taskbell.testing import deliver
from tests.inbox.push.stage import Stage
from tests.servers.push import HOSTS, claims_of

pytestmark = [pytest.mark.contract, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _no_endpoint_is_told(caplog: pytest.LogCaptureFixture, stage: Stage, push: dict[str, Any]) -> Any:
    """Whatever happens, the log names neither an endpoint nor a key."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        text = record.getMessage() + str(record.exc_text or "")
        assert "/APA91b" not in text
        assert "token=" not in text
        assert push["PRIVATE_KEY"] not in text


def outcomes() -> dict[str, float]:
    return {label: n for (name, label), n in counts.counted().items() if name == "push_messages_total"}


@pytest.fixture
def counted() -> Callable[[], dict[str, float]]:
    before = outcomes()
    return lambda: {label: n - before.get(label, 0) for label, n in outcomes().items() if n != before.get(label, 0)}


class TestSent:
    def test_a_message_reaches_every_browser_of_the_person(self, stage: Stage, counted: Any) -> None:
        browsers = [stage.browser(host=host) for host in HOSTS]
        other = stage.browser(recipient=stage.person("bob"))
        made = stage.notification()
        assert stage.step() == len(HOSTS)
        for browser in browsers:
            [message] = stage.received(browser)
            assert message["web_push"] == 8030
            shown = message["notification"]
            assert shown.pop("tag")
            assert shown == {
                "title": "Report ready",
                "body": "Three pages.",
                "navigate": "https://mysite.example/reports/7/",
                "dir": "auto",
                "data": {"id": str(made.id)},
            }
        assert stage.received(other) == []
        assert stage.due() == []
        assert stage.step() == 0
        assert len(stage.service.received) == len(HOSTS)
        assert counted() == {"sent": len(HOSTS)}

    def test_the_request_is_as_the_rfcs_have_it(self, stage: Stage, push: dict[str, Any]) -> None:
        browser = stage.browser(host="push.example.com")
        stage.notification(level="error")
        stage.step()
        [request] = stage.service.of(browser)
        assert request.method == "POST"
        # The bytes of the endpoint, escapes and all, and the name in TLS and in HTTP.
        assert browser.endpoint == f"https://push.example.com{request.path}"
        assert (request.name, request.headers["host"]) == ("push.example.com", "push.example.com")
        assert request.headers["content-encoding"] == "aes128gcm"
        assert request.headers["urgency"] == "high"
        assert 86_000 < int(request.headers["ttl"]) <= 86_390
        assert len(request.headers["topic"]) == 32
        assert not {"cookie", "crypto-key", "encryption"} & request.headers.keys()
        claims, key = claims_of(request.headers["authorization"])
        assert key == public_of(push["PRIVATE_KEY"])
        assert (claims["aud"], claims["sub"]) == ("https://push.example.com", push["CONTACT"])
        assert 3_600 < claims["exp"] - time.time() <= 86_400

    def test_200_and_202_are_taken_too(self, stage: Stage, counted: Any) -> None:
        for status in (200, 202):
            stage.browser(status)
        stage.notification()
        assert stage.step() == 2
        assert counted() == {"sent": 2}

    def test_more_than_a_round_holds_is_sent_in_the_next(self, stage: Stage) -> None:
        browser = stage.browser()
        for _ in range(MOST_LETTERS + 5):
            stage.notification()
        sent = 0
        while got := stage.step():
            sent += got
        assert sent == MOST_LETTERS + 5 == len(stage.service.of(browser))


class TestNotify:
    def test_what_was_said_reaches_a_browser(self, stage: Stage, push: dict[str, Any]) -> None:
        ann = User.objects.get(username="ann")
        browser = stage.browser()
        with override_settings(TASKBELL={"PUSH": push, "PUSH_AFTER": 0}):
            notify(ann, "Your report is ready", body="Three pages.", url="/reports/7/", level="success")
            notify(ann, "Only for pages", via=["page"])
            deliver()
            assert stage.step() == 1
            assert stage.step() == 0
        [message] = stage.received(browser)
        made = Notification.objects.get(title="Your report is ready")
        assert message["notification"]["title"] == "Your report is ready"
        assert message["notification"]["data"] == {"id": str(made.id)}

    def test_what_a_page_has_shown_meanwhile_does_not(self, stage: Stage, push: dict[str, Any]) -> None:
        ann = User.objects.get(username="ann")
        stage.browser()
        notify(ann, "Your report is ready")
        deliver()
        [waiting] = stage.due()
        assert stage.step() == 0
        mark(ann, Mark(ids=(waiting.id,)))
        deliver()
        Notification.objects.exclude(push_at=None).update(push_at=timezone.now())
        assert stage.step() == 0
        assert stage.service.received == []


class TestNotSent:
    @pytest.mark.parametrize(
        "fields",
        [{"seen_at": timezone.now()}, {"push_at": None}, {"push_at": timezone.now() + timedelta(hours=1)}],
        ids=["seen", "not due", "not yet"],
    )
    def test_what_is_not_due(self, stage: Stage, fields: dict[str, Any]) -> None:
        stage.browser()
        stage.notification(**fields)
        assert stage.step() == 0
        assert stage.service.received == []

    def test_to_nobody_without_a_browser(self, stage: Stage) -> None:
        stage.notification()
        assert stage.step() == 0
        assert stage.due() == []

    def test_news_of_the_day_before_yesterday(self, stage: Stage) -> None:
        stage.browser()
        stage.notification(created_at=timezone.now() - timedelta(days=2))
        assert stage.step() == 0
        assert stage.service.received == []
        assert stage.due() == []

    @pytest.mark.parametrize("end", [lambda user: user.delete(), lambda user: User.objects.update(is_active=False)])
    def test_to_an_account_that_is_gone_or_inactive(self, stage: Stage, end: Callable[[User], Any]) -> None:
        stage.browser()
        stage.notification()
        end(User.objects.get(username="ann"))
        assert stage.step() == 0
        assert stage.service.received == []

    def test_without_the_setting_nothing_happens_at_all(self, stage: Stage, django_assert_num_queries: Any) -> None:
        stage.browser()
        stage.notification()
        with override_settings(TASKBELL={}), django_assert_num_queries(0):
            assert stage.step() == 0
        assert len(stage.due()) == 1

    def test_what_a_page_shows_while_it_waits_for_another_try(self, stage: Stage) -> None:
        browser = stage.browser(500)
        made = stage.notification()
        stage.step()
        Notification.objects.filter(id=made.id).update(seen_at=timezone.now(), push_at=None)
        stage.clock.now += 1_000
        stage.step()
        assert len(stage.service.of(browser)) == 1
        assert stage.due() == []


class TestClaims:
    def test_of_two_gateways_one_sends(self, stage: Stage) -> None:
        browser = stage.browser()
        stage.notification()
        other = stage.another()
        # The other one has read the same row, and is slower.
        read = Notification.objects.get()
        assert stage.step() == 1
        assert not Notification.objects.filter(id=read.id, push_at=read.push_at).exists()
        assert stage.step(other) == 0
        assert len(stage.service.of(browser)) == 1

    def test_a_claim_of_a_gateway_that_died_runs_out(self, stage: Stage) -> None:
        browser = stage.browser(500)
        made = stage.notification()
        stage.step()
        assert stage.step(stage.another()) == 0
        claim = Notification.objects.get().push_at
        assert claim is not None
        assert CLAIM_SECONDS < (claim - timezone.now()).total_seconds() < CLAIM_SECONDS + 2 * PAUSES[0]
        Notification.objects.filter(id=made.id).update(push_at=timezone.now() - timedelta(seconds=1))
        stage.step(stage.another())
        assert len(stage.service.of(browser)) == 2
        # The first, if it lives after all, finds that it is not its own any more.
        stage.clock.now += 1_000
        stage.step()
        assert len(stage.service.of(browser)) == 2


class TestAnswers:
    @pytest.mark.parametrize("status", [404, 410])
    def test_gone_deletes_the_subscription(self, stage: Stage, counted: Any, status: int) -> None:
        stage.browser(status)
        stays = stage.browser()
        stage.notification()
        assert stage.step() == 1
        assert [row.endpoint for row in PushSubscription.objects.all()] == [stays.endpoint]
        assert counted() == {"gone": 1, "sent": 1}
        assert stage.due() == []

    def test_413_is_shortened_once(self, stage: Stage, counted: Any) -> None:
        browser = stage.browser(413)
        stage.notification(body="Ä" * 5_000)
        for _ in range(3):
            stage.step()
        long, short = stage.service.of(browser)
        assert len(long.body) <= 3_103
        assert len(short.body) <= 1_603
        assert [one["notification"]["title"] for one in stage.received(browser)] == ["Report ready"] * 2
        assert stage.received(browser)[1]["notification"]["body"].endswith("Ä…")
        assert counted() == {"failed": 1}
        assert stage.due() == []

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_honoured_for_every_message(self, stage: Stage, status: int) -> None:
        browser = stage.browser(f"{status},60")
        stage.notification()
        stage.step()
        row = PushSubscription.objects.get()
        assert row.retry_at is not None
        assert 55 < (row.retry_at - timezone.now()).total_seconds() <= 60
        stage.notification()
        stage.clock.now += 30
        stage.step()
        assert len(stage.service.of(browser)) == 1
        PushSubscription.objects.update(retry_at=timezone.now() - timedelta(seconds=1))
        stage.clock.now += 60
        stage.step()
        assert len(stage.service.of(browser)) == 3

    @pytest.mark.parametrize(
        "header", ["999999999999", "86400", "Fri,_01_Jan_2100_00:00:00_GMT"], ids=["endless", "a day", "a date"]
    )
    def test_nobody_waits_for_longer_than_an_hour(self, stage: Stage, header: str) -> None:
        stage.browser(f"429,{header}")
        stage.notification()
        stage.step()
        retry_at = PushSubscription.objects.get().retry_at
        if header == "999999999999":  # a number that is none: as if there was no header
            assert retry_at is None
        else:
            assert retry_at is not None
            assert LONGEST_PAUSE - 10 < (retry_at - timezone.now()).total_seconds() <= LONGEST_PAUSE

    @pytest.mark.parametrize("header", ["-5", "x", "1e9", "Thu,_01_Jan_1970_00:00:00_GMT", "0"])
    def test_a_header_that_makes_no_sense_is_none(self, stage: Stage, header: str) -> None:
        stage.browser(f"429,{header}")
        stage.notification()
        stage.step()
        assert PushSubscription.objects.get().retry_at is None
        assert len(stage.due()) == 1

    @pytest.mark.parametrize("status", [500, 502, 429, "garbage", "cut"])
    def test_trouble_is_tried_a_few_times(self, stage: Stage, counted: Any, status: object) -> None:
        browser = stage.browser(status)
        stage.notification()
        for pause in (0, *PAUSES, 1_000, 1_000):
            stage.clock.now += 1.5 * pause
            stage.step()
        assert len(stage.service.of(browser)) == 1 + len(PAUSES)
        assert counted() == {"failed": 1}
        assert stage.due() == []
        assert PushSubscription.objects.count() == 1

    @pytest.mark.parametrize("status", [400, 401, 403])
    def test_what_is_ours_to_mend_is_told(
        self, stage: Stage, counted: Any, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage.browser(status)
        stage.notification()
        stage.step()
        [told] = [one.getMessage() for one in caplog.records if one.name == "taskbell"]
        assert told.startswith(f"The push service fcm.googleapis.com refuses what we send, with {status}.")
        assert counted() == {"failed": 1}
        assert PushSubscription.objects.count() == 1

    def test_a_redirect_is_not_followed(self, stage: Stage, counted: Any) -> None:
        browser = stage.browser("redirect")
        stage.notification()
        stage.step()
        assert [one.path for one in stage.service.received] == [stage.service.of(browser)[0].path]
        assert counted() == {"failed": 1}

    def test_a_huge_body_is_not_read(self, stage: Stage) -> None:
        stage.browser("huge")
        stage.notification()
        began = time.monotonic()
        assert stage.step() == 1
        assert time.monotonic() - began < 8

    @pytest.mark.parametrize("answer", ["hang", "drip"])
    def test_nobody_holds_up_the_others_for_long(self, stage: Stage, answer: str) -> None:
        for _ in range(3):
            stage.browser(answer)
        quick = stage.browser()
        stage.notification()
        began = time.monotonic()
        assert stage.step(stage.another(seconds=1.5)) == 1
        assert time.monotonic() - began < 15
        assert len(stage.received(quick)) == 1

    def test_a_service_whose_certificate_nobody_vouches_for(self, stage: Stage, monkeypatch: Any) -> None:
        import ssl

        stage.browser()
        stage.notification()
        assert stage.step(stage.another(tls=ssl.create_default_context())) == 0
        assert stage.service.received == []


class TestAddresses:
    @pytest.mark.parametrize(
        "addresses",
        [
            ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], ["::1"], ["fe80::1%lo"], ["0.0.0.0"], [],
            ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["fd00::1"], ["100.64.0.1"], ["nonsense"],
        ],
        ids=str,
    )  # fmt: skip
    def test_a_name_that_leads_inside_is_not_connected_to(
        self, stage: Stage, counted: Any, addresses: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        stage.lookup = lambda host: addresses
        stage.browser()
        stage.notification()
        assert stage.step() == 0
        assert stage.service.received == []
        assert counted() == {"failed": 1}
        assert "is not public" in caplog.text

    def test_a_name_that_is_bound_anew_between_two_looks(self, stage: Stage) -> None:
        """First public, as when it was saved, and then not: each look is the one that is connected to."""
        answers = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]
        stage.lookup = lambda host: answers.pop(0)
        browser = stage.browser()
        stage.notification()
        assert stage.step() == 1
        stage.notification()
        assert stage.step() == 0
        assert len(stage.service.of(browser)) == 1
        assert answers == [["127.0.0.1"]]

    def test_a_name_that_nobody_knows_is_tried_again(self, stage: Stage) -> None:
        def unknown(host: str) -> list[str]:
            raise OSError("no such name")

        stage.lookup = unknown
        stage.browser()
        stage.notification()
        assert stage.step() == 0
        assert len(stage.due()) == 1

    def test_a_look_up_that_hangs_does_not_hold_up_the_round(self, stage: Stage) -> None:
        import threading

        over = threading.Event()

        def slow(host: str) -> list[str]:
            over.wait(30)
            return []

        stage.lookup = slow
        stage.browser()
        stage.notification()
        began = time.monotonic()
        assert stage.step(stage.another(seconds=1)) == 0
        assert time.monotonic() - began < 10
        over.set()

    @pytest.mark.parametrize(
        "endpoint", ["https://127.0.0.1/x", "https://evil.example/x", "http://fcm.googleapis.com/x"]
    )
    def test_an_endpoint_is_checked_again_when_it_is_used(self, stage: Stage, counted: Any, endpoint: str) -> None:
        stage.browser()
        PushSubscription.objects.update(endpoint=endpoint)
        stage.notification()
        assert stage.step() == 0
        assert stage.service.received == []
        assert counted() == {"failed": 1}

    def test_a_host_that_the_settings_name_no_more(self, stage: Stage, push: dict[str, Any]) -> None:
        stage.browser(host="push.example.com")
        stage.notification()
        with override_settings(TASKBELL={"PUSH": {**push, "HOSTS": []}}):
            assert stage.step() == 0
        assert stage.service.received == []

    def test_the_environment_names_no_proxy_of_ours(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        stage.browser()
        stage.notification()
        assert stage.step() == 1
