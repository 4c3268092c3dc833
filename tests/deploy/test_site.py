"""The original request's own shape, by the files of deploy/: nginx, gunicorn, the gateway and Celery's worker around
PostgreSQL and Valkey; and its parts restarted, killed and reloaded while events are published.

The site is the one that docs/how-to/moving-from-django-eventstream.md makes.
"""

import json
import time
from collections.abc import Callable, Iterator
from statistics import median

import psutil
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.conftest import missing
from tests.deploy.site import PASSWORD, Follower, Knocking, Person, Publishing, Site
from tests.servers.nginx import Nginx
from tests.servers.postgres import Postgres
from tests.servers.process import Unavailable, free_port
from tests.servers.sse import Event
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.proof

# What a person would call at once; on a quiet machine it is a few hundredths.
AT_ONCE = 1.0
# nginx gives up connecting after 3 s, the gateway's own refusals come at once.
ANSWERED = 5.0
# What the page's own button does, but for a shorter task.
START_A_TASK = """
const done = arguments[0], csrf = document.documentElement.innerHTML.match(/X-CSRFToken": "(\\w+)"/)[1]
const headers = {"X-CSRFToken": csrf, "Content-Type": "application/json"}
const request = {method: "POST", headers, body: '{"seconds": 0}'}
fetch("/tasks/", request).then((answer) => answer.json()).then((answer) => done(answer.task_id))
"""
READ = "fetch(arguments[0]).then((answer) => answer.text()).then(arguments[1])"
PEOPLE = "".join(f"User.objects.create_user({name!r}, password={PASSWORD!r});" for name in ("yamkant", "guest"))


@pytest.fixture(scope="module")
def site(postgres: Postgres, session_valkey: Valkey) -> Iterator[Site]:
    database = postgres.fresh()
    try:
        site = Site(database, session_valkey.url)
    except Unavailable as error:
        missing(error)
    try:
        site.manage("migrate", "--verbosity=0")
        site.manage("collectstatic", "--noinput", "--verbosity=0")
        site.manage("shell", "--command", f"from django.contrib.auth.models import User;{PEOPLE}")
        for name in Site.UNITS:
            site.start(name)
        site.nginx.start()
        yield site
    finally:
        site.remove()
        postgres.drop(database)


@pytest.fixture(scope="module")
def yamkant(site: Site) -> Person:
    return Person(site, "yamkant").sign_in()


@pytest.fixture(scope="module")
def guest(site: Site) -> Person:
    return Person(site, "guest").sign_in()


def told(event: Event, task_id: str) -> str:
    """Return the state that an event tells of a task, empty if it is about something else."""
    return event.json["state"] if event.type == "run" and event.json["task_id"] == task_id else ""


# The request itself


def test_one_cookie_from_the_form_to_the_toast(yamkant: Person, guest: Person) -> None:
    with yamkant.stream() as mine, guest.stream() as theirs:
        mine.until("ping")
        theirs.until("ping")
        assert "content-encoding" not in mine.headers

        status, answer = yamkant.post("/tasks/", {"seconds": 1})
        assert (status, list(answer)) == (201, ["task_id"])
        task_id = answer["task_id"]
        # At once, whether or not a gateway has folded anything yet.
        status, text = yamkant.ask(f"/tasks/{task_id}/")
        assert (status, json.loads(text)["task_id"]) == (200, task_id)
        assert guest.ask(f"/tasks/{task_id}/")[0] == 404

        events = mine.until(lambda event: told(event, task_id) == "succeeded")
        states = [told(event, task_id) for event in events]
        assert [state for state in states if state] == ["queued", "running", "succeeded"]
        assert events[-1].json["label"] == "Work"
        theirs.silence(0.5)

    status, text = yamkant.ask(f"/tasks/{task_id}/")
    assert json.loads(text) == {"task_id": task_id, "state": "succeeded"}
    assert guest.ask(f"/tasks/{task_id}/")[0] == 404


def test_nobody_gets_in(site: Site, yamkant: Person, guest: Person) -> None:
    stranger = Person(site, "nobody")
    assert yamkant.post("/tasks/", {"seconds": 0}, csrf=False)[0] == 403
    assert stranger.ask("/tasks/", b"{}", **{"Content-Type": "application/json"})[0] == 403
    assert stranger.ask("/events/")[0] == 401
    assert guest.ask("/events/yamkant/")[0] == 404
    assert guest.ask("/events/", Origin="https://evil.example")[0] == 403
    # What the gateway answers beside streams is not for the world.
    assert "alive" not in stranger.ask("/livez")[1]


def test_the_page_and_its_script(yamkant: Person) -> None:
    status, page = yamkant.ask("/")
    assert status == 200
    assert 'data-events="/events/"' in page
    assert 'src="/static/taskbell/taskbell.js"' in page
    status, script = yamkant.ask("/static/taskbell/taskbell.js")
    assert (status, "EventTarget" in script) == (200, True)


def test_a_page_of_django_eventstream_is_told_once(yamkant: Person) -> None:
    with yamkant.stream("/events/yamkant/", last_event_id="user-yamkant:5") as stream:
        [reset] = stream.until("reset")
        assert reset.json == {"reason": "unknown"}
    with yamkant.stream("/events/yamkant/", last_event_id=reset.id) as stream:
        assert stream.read().type == "ping"


# Unbuffered


def test_every_event_arrives_at_once(
    site: Site, yamkant: Person, record_property: Callable[[str, object], None]
) -> None:
    with yamkant.following() as follower, site.publishing("yamkant", rate=8) as publishing:
        follower.wait_for(20)
    assert max(follower.lags) < AT_ONCE, follower.lags
    in_order(follower, publishing)
    record_property("seconds", f"median {median(follower.lags):.4f}, most {max(follower.lags):.4f}")


def test_the_header_alone_would_do(site: Site, yamkant: Person) -> None:
    assert lag_behind(site, yamkant, "") < AT_ONCE


def test_a_proxy_that_gathers_would_be_noticed(site: Site, yamkant: Person) -> None:
    gathering = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
    with pytest.raises(TimeoutError):
        lag_behind(site, yamkant, gathering)


def lag_behind(site: Site, person: Person, lines: str) -> float:
    """Return what the first event takes through an nginx that says this in place of `proxy_buffering off`."""
    port = free_port()
    text = site.render("nginx.conf").replace(f"127.0.0.1:{site.port}", f"127.0.0.1:{port}")
    assert "proxy_buffering off;" in text
    nginx = Nginx(text.replace("proxy_buffering off;", lines))
    try:
        nginx.start()
        with site.publishing("yamkant", rate=8), person.stream(port=port, timeout=2) as stream:
            [event] = stream.take(1, type="message")
            return time.time() - float(event.json["at"])
    finally:
        nginx.remove()


# Restarts


def test_the_gateway_is_restarted_under_load(site: Site, yamkant: Person, guest: Person) -> None:
    with yamkant.following() as follower, site.publishing("yamkant", rate=100) as publishing:
        with Knocking(guest) as knocking:
            follower.wait_for(50)
            site.stop("taskbell")
            away = len(publishing.committed)
            assert yamkant.ask("/tasks/unknown/")[0] == 404
            published_beyond(away + 50, publishing)
            site.start("taskbell")
            follower.wait_for(away + 100)
    in_order(follower, publishing)
    assert follower.streams >= 2
    answered(knocking)


def test_the_gateway_is_killed_under_load(site: Site, yamkant: Person, guest: Person) -> None:
    with yamkant.following() as follower, site.publishing("yamkant", rate=100) as publishing:
        with Knocking(guest) as knocking:
            follower.wait_for(50)
            site.processes["taskbell"].destroy()
            away = len(publishing.committed)
            published_beyond(away + 50, publishing)
            site.start("taskbell")
            follower.wait_for(away + 100)
    in_order(follower, publishing)
    answered(knocking)


def test_nginx_is_reloaded_under_open_streams(site: Site, yamkant: Person, guest: Person) -> None:
    with yamkant.following() as follower, site.publishing("yamkant", rate=100) as publishing:
        follower.wait_for(20)
        site.nginx.write(site.render("nginx.conf").replace("location /events/ {", "location /events/ { expires -1;"))
        site.nginx.reload()
        # The new workers serve by the new file, and the old stream stays where it is.
        with guest.stream() as new:
            assert "expires" in new.headers
            follower.wait_for(follower.numbers[-1] + 50)
            assert site.nginx.leaving()
    assert follower.streams == 1
    in_order(follower, publishing)
    assert site.nginx.process is not None
    site.nginx.process.wait_until(lambda: not site.nginx.leaving(), what="rid of its old workers")
    site.nginx.write(site.render("nginx.conf"))
    site.nginx.reload()


def test_a_worker_that_is_stopped_finishes_its_task(site: Site, yamkant: Person) -> None:
    with yamkant.stream() as stream:
        stream.until("ping")
        _, answer = yamkant.post("/tasks/", {"seconds": 2})
        stream.until(lambda event: told(event, answer["task_id"]) == "running")
        try:
            site.stop("worker")
        finally:
            site.start("worker")
        stream.until(lambda event: told(event, answer["task_id"]) == "succeeded")


def test_web_processes_are_reloaded(site: Site, yamkant: Person) -> None:
    web = psutil.Process(site.processes["web"].pid)
    before = set(web.children())
    web.send_signal(1)
    answers = set()
    deadline = time.monotonic() + 20
    while before & set(web.children()):
        assert time.monotonic() < deadline
        answers.add(yamkant.ask("/")[0])
    answers.add(yamkant.ask("/")[0])
    assert answers == {200}


@pytest.mark.browser
def test_a_browser_hears_what_ended_while_the_gateway_was_away(site: Site, browser: Chrome) -> None:
    browser.get(f"{site.address}/sign-in/")
    browser.find_element(By.NAME, "username").send_keys("yamkant")
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.TAG_NAME, "button").click()
    wait = WebDriverWait(browser, 20)
    wait.until(lambda _: browser.execute_script("return window.taskbell?.status") == "live")
    news = browser.find_element(By.ID, "news")
    site.stop("taskbell")
    try:
        wait.until(lambda _: browser.execute_script("return taskbell.status") != "live")
        task_id = browser.execute_async_script(START_A_TASK)
        # Where the project's own processes are asked, it has ended; the page can know nothing of it yet.
        wait.until(lambda _: "succeeded" in browser.execute_async_script(READ, f"/tasks/{task_id}/"))
        assert news.text == ""
    finally:
        site.start("taskbell")
    wait.until(lambda _: news.text == "Task finished")


def in_order(follower: Follower, publishing: Publishing) -> None:
    """What a page got is what was published, in its order, without a gap and without a double, from its first event."""
    numbers = follower.numbers
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert set(numbers) <= {*publishing.committed, len(publishing.committed)}
    assert follower.resets == []


def published_beyond(number: int, publishing: Publishing) -> None:
    publishing.process.wait_until(lambda: len(publishing.committed) > number, what=f"beyond {number}")


def answered(knocking: Knocking) -> None:
    """A stream is given, or refused by nginx or a gateway that stops; never left waiting. Pages are as always."""
    statuses = {status for status, _ in knocking.streams}
    assert statuses <= {200, 502, 503}
    assert statuses & {502, 503}
    assert {status for status, _ in knocking.pages} == {200}
    assert max(seconds for _, seconds in [*knocking.streams, *knocking.pages]) < ANSWERED
