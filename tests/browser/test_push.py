"""Web Push in Chromium, under a strict policy: the button, the worker, what is shown and what a click opens.

There is no push service here for Chromium to subscribe with. So of the browser two methods are replaced, `subscribe`
and `getSubscription` of PushManager, by ones that answer with a subscription of the test's own; a message is handed to
the worker by DevTools, as a push service would. Everything else is Chromium's.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from websocket import create_connection

from taskbell.inbox.push.keys import new_private, public_of
from taskbell.inbox.push.message import body_of
from taskbell.models import Notification, PushSubscription
from tests.browser.site import Site
from tests.servers.project import Project
from tests.servers.push import Subscriber

pytestmark = pytest.mark.browser

KEY: Final = new_private()
PUSH: Final = {"PRIVATE_KEY": KEY, "CONTACT": "mailto:ann@example.com"}
SUBSCRIPTION: Final = """
(() => {
  const made = %s;
  const plain = (text) => text.replace(/-/g, "+").replace(/_/g, "/");
  const bytes = (text) => Uint8Array.from(atob(plain(text)), (letter) => letter.charCodeAt(0)).buffer;
  const subscription = () => {
    const key = localStorage.getItem("test-key");
    return key && { endpoint: made.endpoint, options: { applicationServerKey: bytes(key) }, toJSON: () => made,
      unsubscribe: async () => { localStorage.removeItem("test-key"); return true; } };
  };
  PushManager.prototype.getSubscription = async () => subscription();
  PushManager.prototype.subscribe = async function ({ userVisibleOnly, applicationServerKey }) {
    if (!userVisibleOnly) throw new DOMException("", "NotAllowedError");
    const text = btoa(String.fromCharCode(...applicationServerKey));
    const key = text.replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=/g, "");
    const before = localStorage.getItem("test-key");
    if (before && before !== key) throw new DOMException("", "InvalidStateError");
    localStorage.setItem("test-key", key);
    return subscription();
  };
})();
"""
SHOWN: Final = """
const [done] = arguments;
navigator.serviceWorker.getRegistration("/taskbell/push/").then((it) => it.getNotifications())
  .then((all) => done(all.map(({ title, body, tag, dir, data }) => ({ title, body, tag, dir, data }))));
"""
# The click of a person cannot be made here. The event is the worker's own to make; who opens windows is replaced.
CLICK: Final = """(async () => {
  const [notification] = await registration.getNotifications();
  const opened = [];
  notification.close = () => opened.push("close");
  let done;
  clients.openWindow = async (url) => opened.push(`open ${url}`);
  WindowClient.prototype.focus = async function () { opened.push(`focus ${this.url}`); };
  const event = new NotificationEvent("notificationclick", { notification });
  event.waitUntil = (work) => (done = work);
  dispatchEvent(event);
  await done;
  return opened;
})()"""


class Browser:
    """The browser of Ann, whose subscription is known."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.subscriber = Subscriber("https://fcm.googleapis.com/fcm/send/ann:1")
        self.cdp("Browser.grantPermissions", origin=site.origin, permissions=["notifications"])
        source = SUBSCRIPTION % json.dumps(self.subscriber.as_json())
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=source)
        self.cdp("ServiceWorker.enable")

    def cdp(self, name: str, **values: Any) -> Any:
        return self.site.browser.execute_cdp_cmd(name, values)

    def open(self, query: str = "push=1") -> None:
        self.site.open(query)
        self.site.until_live()

    @property
    def button(self) -> Any:
        return self.site.shadow("taskbell-push").find_element(By.CSS_SELECTOR, "button")

    def state(self) -> str:
        return str(self.site.run("return taskbell.push.state"))

    def subscribe(self) -> None:
        self.open()
        self.button.click()
        self.site.until(lambda: self.state() == "on", "not subscribed")

    def deliver(self, notification: Notification) -> None:
        data = body_of(notification, self.site.origin).decode()
        self.cdp("ServiceWorker.deliverPushMessage", origin=self.site.origin, registrationId="0", data=data)

    def show(self, notification: Notification) -> None:
        """Deliver until it is shown: DevTools passes over a worker that Chromium has not written down yet."""

        def is_there() -> bool:
            self.deliver(notification)
            return notification.title in [one["title"] for one in self.shown()]

        self.site.until(is_there, "nothing is shown")

    def shown(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.site.browser.execute_async_script(SHOWN)
        return found

    def in_worker(self, source: str) -> Any:
        """Evaluate in the service worker, which selenium does not reach."""
        address = self.site.browser.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urllib.request.urlopen(f"http://{address}/json/version", timeout=10) as answer:
            url = json.load(answer)["webSocketDebuggerUrl"]
        line = create_connection(url, timeout=20, suppress_origin=True)
        try:
            targets = _call(line, "Target.getTargets")["targetInfos"]
            [worker] = [one["targetId"] for one in targets if one["type"] == "service_worker"]
            session = _call(line, "Target.attachToTarget", targetId=worker, flatten=True)["sessionId"]
            answered = _call(
                line, "Runtime.evaluate", session, expression=source, awaitPromise=True, returnByValue=True
            )
            return answered["result"]["value"]
        finally:
            line.close()


def _call(line: Any, method: str, session: str = "", **params: Any) -> dict[str, Any]:
    line.send(json.dumps({"id": 1, "method": method, "params": params} | ({"sessionId": session} if session else {})))
    while True:
        said = json.loads(line.recv())
        if said.get("id") == 1:
            result: dict[str, Any] = said["result"]
            return result


@pytest.fixture
def site(project: Callable[[str], Project], browser: Chrome, tmp_path: Path) -> Iterator[Site]:
    one = project("sqlite")
    # Nothing leaves this machine: what is due is due much later.
    one.configure(PUSH=PUSH, PUSH_AFTER=3_600)
    site = Site(one, browser, tmp_path)
    site.sign_in()
    yield site
    assert site.problems() == []
    browser.get("about:blank")


@pytest.fixture
def ann(site: Site) -> Browser:
    return Browser(site)


def notification(site: Site, **fields: Any) -> Notification:
    recipient = PushSubscription.objects.get().recipient
    return Notification(**({"recipient": recipient, "title": "Report ready", "body": "Three pages."} | fields))


def test_the_button_turns_it_on_and_off(ann: Browser, site: Site) -> None:
    ann.open()
    assert site.run("return Notification.permission") == "granted"
    assert (ann.state(), ann.button.text) == ("off", "Notify me in this browser")
    site.picture("push-off")
    ann.button.click()
    site.until(lambda: ann.button.text == "Stop notifying me in this browser", "not on")
    [row] = PushSubscription.objects.all()
    assert (row.endpoint, row.p256dh, row.auth, row.origin) == (
        ann.subscriber.endpoint,
        ann.subscriber.p256dh,
        ann.subscriber.auth,
        site.origin,
    )
    site.picture("push-on")
    # The next page knows.
    ann.open()
    site.until(lambda: ann.state() == "on", "forgotten")
    ann.button.click()
    site.until(lambda: ann.button.text == "Notify me in this browser", "not off")
    assert PushSubscription.objects.count() == 0


def test_in_korean(ann: Browser, site: Site) -> None:
    ann.open("push=1&lang=ko")
    assert ann.button.text == "이 브라우저로 알림 받기"


def test_a_browser_that_blocks(ann: Browser, site: Site) -> None:
    ann.cdp("Browser.setPermission", origin=site.origin, permission={"name": "notifications"}, setting="denied")
    ann.open()
    site.until(lambda: ann.state() == "denied", "not denied")
    assert (ann.button.text, ann.button.is_enabled()) == ("This browser blocks notifications", False)


def test_nobody_is_asked_by_a_page(ann: Browser, site: Site) -> None:
    ann.cdp("Browser.resetPermissions")
    source = "Notification.requestPermission = async () => { throw new Error('asked'); };"
    ann.cdp("Page.addScriptToEvaluateOnNewDocument", source=source)
    ann.open()
    assert ann.state() in ("off", "denied")
    assert site.run("return navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0


def test_a_message_is_shown_and_its_click_opens_it(ann: Browser, site: Site) -> None:
    ann.subscribe()
    made = notification(site, url="/page/?run=", kind="report")
    ann.show(made)
    [shown] = ann.shown()
    assert (shown["title"], shown["body"], shown["dir"]) == ("Report ready", "Three pages.", "auto")
    assert shown["data"] == {"id": str(made.id), "navigate": f"{site.origin}/page/?run="}
    # A newer one of the same kind takes its place.
    ann.show(notification(site, title="Another one", url="/page/?run=", kind="report"))
    assert [one["title"] for one in ann.shown()] == ["Another one"]
    assert ann.in_worker(CLICK) == ["close", f"open {site.origin}/page/?run="]


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("/page/?push=1", "focus ORIGIN/page/?push=1"),
        ("", "focus ORIGIN/page/?push=1"),
        ("https://other.example/x", "open https://other.example/x"),
    ],
    ids=["an open tab", "nowhere in particular", "elsewhere"],
)
def test_where_a_click_leads(ann: Browser, site: Site, url: str, opened: str) -> None:
    ann.subscribe()
    ann.show(notification(site, url=url))
    assert ann.in_worker(CLICK) == ["close", opened.replace("ORIGIN", site.origin)]


def test_what_a_page_in_sight_has_shown_is_not_shown_again(ann: Browser, site: Site) -> None:
    ann.subscribe()
    ann.show(notification(site, title="First"))
    made = notification(site)
    site.run("window.seen = []; taskbell.on('notification', ({ id }) => window.seen.push(id))")
    site.publish("notification", {"id": str(made.id), "title": made.title})
    site.until(lambda: site.run("return window.seen") == [str(made.id)], "the page heard nothing")
    ann.deliver(made)
    ann.show(notification(site, title="Another one"))
    assert sorted(one["title"] for one in ann.shown()) == ["Another one", "First"]


def test_signing_out_ends_it(ann: Browser, site: Site) -> None:
    ann.subscribe()
    assert PushSubscription.objects.count() == 1
    site.browser.find_element(By.CSS_SELECTOR, "[data-taskbell-sign-out] button").click()
    site.until(lambda: site.run("return location.pathname") == "/sign-out/", "not signed out")
    assert PushSubscription.objects.count() == 0
    assert site.run("return [localStorage.getItem('test-key'), localStorage.getItem('taskbell-push')]") == [None, None]


def test_a_session_that_ends_takes_it_along(ann: Browser, site: Site) -> None:
    ann.subscribe()
    site.browser.delete_all_cookies()
    site.run("taskbell.stop(); taskbell.start()")
    site.until(lambda: ann.state() == "off", "still on")
    assert site.run("return localStorage.getItem('test-key')") is None
    # Chromium logs every 401, and this one was meant.
    assert all("401" in problem for problem in site.problems())


def test_another_person_at_the_same_browser(ann: Browser, site: Site) -> None:
    ann.subscribe()
    site.browser.get("about:blank")
    site.browser.get(f"{site.origin}/")
    site.browser.delete_all_cookies()
    site.sign_in("bob")
    ann.open()
    site.until(lambda: site.run("return localStorage.getItem('test-key')") is None, "still hers")
    assert ann.state() == "off"


def test_another_key_of_the_site_is_taken_up(ann: Browser, site: Site) -> None:
    ann.subscribe()
    other = new_private()
    site.project.configure(PUSH=PUSH | {"PRIVATE_KEY": other})
    site.restart()
    ann.open()
    site.until(lambda: site.run("return localStorage.getItem('test-key')") == public_of(other), "still the old key")
    site.until(lambda: ann.state() == "on", "not on")


def test_a_server_that_takes_none_leaves_nothing_behind(ann: Browser, site: Site) -> None:
    ann.open()
    site.browser.delete_cookie("csrftoken")
    ann.button.click()
    site.until(lambda: site.texts("taskbell-push", "trouble"), "nothing is said")
    assert site.texts("taskbell-push", "trouble") == ["That could not be saved. Try again."]
    site.picture("push-trouble")
    assert site.run("return localStorage.getItem('test-key')") is None
    assert (ann.state(), ann.button.text, ann.button.is_enabled()) == ("off", "Notify me in this browser", True)
    assert PushSubscription.objects.count() == 0
    # Chromium logs the refusal, and the page what came of it.
    assert all("403" in problem for problem in site.problems())
