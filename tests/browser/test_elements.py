"""The elements in Chromium on a real gateway: what a person sees, hears and reaches by keyboard, in every setting."""

from typing import Any

import pytest
from django.utils import timezone
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from taskbell.models import Notification
from tests.browser.axe import violations
from tests.browser.site import Site, new_run

pytestmark = pytest.mark.browser

RUN, TOASTS, INBOX = "taskbell-run", "taskbell-toasts", "taskbell-inbox"


def part(site: Site, element: str, name: str) -> WebElement:
    return site.shadow(element).find_element(By.CSS_SELECTOR, f"[part~={name}]")


def focused(site: Site, element: str) -> str:
    found = site.run(f"return document.querySelector('{element}').shadowRoot.activeElement?.getAttribute('part')")
    return str(found)


def tell_everything(site: Site) -> None:
    """A run in each of its states."""
    soon = timezone.now() + timezone.timedelta(seconds=150)
    steps = dict.fromkeys(("queued", "running", "retrying", "failed", "cancelled", "expired", "skipped", "lost"), 0)
    listed = [
        {"id": "1", "label": "Reading the file", "state": "succeeded"},
        {"id": "2", "label": "Checking addresses", "state": "succeeded"},
        {"id": "3", "label": "Sending letters", "state": "running"},
        {"id": "4", "label": "Writing the report", "state": "queued"},
    ]
    site.tell(new_run(), "queued")
    site.tell(new_run(), "queued", late=True, label="Writing report")
    site.tell(new_run(), "running", label="Importing addresses")
    site.tell(new_run(), "running", label="Stopping", cancelling=True, done=3, total=9)
    site.tell(new_run(), "running", done=42, total=100, message="beach-0042.jpg")
    site.tell(
        new_run(),
        "running",
        label="Import 42",
        done=2,
        total=27,
        steps={**steps, "total": 27, "succeeded": 2, "list": listed},
    )
    site.tell(
        new_run(),
        "retrying",
        attempt=2,
        next_attempt_at=soon.isoformat(),
        error={"message": "The printer is busy.", "reference": None},
        label="Printing",
    )
    site.tell(new_run(), "lost", label="Sending letters")
    site.tell(
        new_run(), "failed", label="Reading scan", error={"message": "This file is no picture.", "reference": "7f3a9c"}
    )
    site.tell(new_run(), "cancelled", label="Counting stars")
    site.tell(new_run(), "expired", label="Daily summary")
    site.tell(new_run(), "succeeded", label="Making album", result={"url": "/page/", "label": "Open the album"})


def notify_everything(site: Site) -> None:
    site.notify("Minji commented on your album", body="“The third picture is my favourite.”", url="/page/?album=1")
    site.notify("Your storage is nearly full", body="9.6 of 10 GB are used.", level="warning", url="/page/?storage")
    site.notify("Payment failed", body="Your card was declined.", level="error", url="/page/?billing")
    site.notify("Welcome", level="success")


LOOKS = [("light", "ltr", "en"), ("dark", "ltr", "en"), ("light", "rtl", "en"), ("dark", "ltr", "ko")]


@pytest.mark.parametrize(("scheme", "dir", "lang"), LOOKS, ids=["light", "dark", "right-to-left", "Korean"])
def test_every_state_is_sound_to_axe(site: Site, scheme: str, dir: str, lang: str) -> None:
    site.browser.set_window_size(1100, 1500)
    look = f"scheme={scheme}&dir={dir}&lang={lang}"
    name = f"{scheme}-{dir}-{lang}"
    site.open(f"{look}&runs=1&inbox=1")
    site.until_live()
    assert violations(site.browser) == []
    tell_everything(site)
    site.until(lambda: len(site.toasts()) == 5, "not all toasts")
    site.run(
        f"document.querySelectorAll('{RUN}').forEach((run) => (run.shadowRoot.querySelector('details').open = true))"
    )
    site.picture(f"runs-{name}")
    assert violations(site.browser) == []
    # What nobody had the time to read would come again.
    part(site, TOASTS, "dismiss-all").click()
    assert site.toasts() == []

    site.open(f"{look}&inbox=1")
    site.until_live()
    notify_everything(site)
    site.until(lambda: len(site.toasts()) == 4, "not all notifications")
    site.picture(f"toasts-{name}")
    assert violations(site.browser) == []
    part(site, INBOX, "bell").click()
    site.until(lambda: len(site.texts(INBOX, "notification")) == 4, "no list")
    site.picture(f"inbox-{name}")
    assert violations(site.browser) == []
    part(site, INBOX, "read-all").click()
    site.until(lambda: site.texts(INBOX, "badge") == [], "still unread")
    assert violations(site.browser) == []


def test_the_panel_by_keyboard(site: Site) -> None:
    site.notify("First", url="/page/?first")
    site.notify("Second", url="/page/?second")
    site.open("inbox=1")
    site.until_live()
    bell = part(site, INBOX, "bell")
    site.until(lambda: bell.accessible_name == "Inbox, 2 unread messages", "not counted")
    assert bell.get_attribute("aria-expanded") == "false"
    site.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert focused(site, INBOX) == "bell"
    site.browser.switch_to.active_element.send_keys(Keys.ENTER)
    site.until(lambda: len(site.texts(INBOX, "notification")) == 2, "no list")
    assert (focused(site, INBOX), bell.get_attribute("aria-expanded")) == ("panel", "true")
    panel = part(site, INBOX, "panel")
    assert (panel.aria_role, panel.accessible_name) == ("dialog", "Inbox")
    site.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert focused(site, INBOX) == "read-all"
    outline = "return getComputedStyle(document.querySelector('taskbell-inbox').shadowRoot.activeElement).outlineStyle"
    assert site.run(outline) == "solid"
    site.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert focused(site, INBOX) == "open"
    site.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    site.until(lambda: site.texts(INBOX, "panel") == [], "Escape does not close it")
    assert (focused(site, INBOX), bell.get_attribute("aria-expanded")) == ("bell", "false")
    site.browser.switch_to.active_element.send_keys(Keys.ENTER)
    site.browser.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    site.until(lambda: site.texts(INBOX, "badge") == [], "not marked")
    # The button has nothing left to do, and who pressed it is still in the panel.
    assert focused(site, INBOX) == "panel"
    site.until(lambda: not Notification.objects.filter(read_at=None).exists(), "the server does not know")


def test_what_is_clicked_is_read_in_every_tab(site: Site) -> None:
    site.notify("Your album is ready", url="/page/?album")
    site.notify("Only to be known")
    site.open("inbox=1")
    first = site.browser.current_window_handle
    site.browser.switch_to.new_window("tab")
    site.open("inbox=1")
    site.until_live()
    second = site.browser.current_window_handle
    part(site, INBOX, "bell").click()
    site.until(lambda: len(site.texts(INBOX, "notification")) == 2, "no list")
    opened = site.shadow(INBOX).find_elements(By.CSS_SELECTOR, "[part=open]")
    assert [each.tag_name for each in opened] == ["button", "a"]
    opened[0].click()
    site.until(lambda: site.texts(INBOX, "badge") == ["1"], "not read")
    assert len(site.texts(INBOX, "panel")) == 1
    opened[1].click()
    site.until(lambda: site.browser.current_url.endswith("?album"), "the link was not followed")
    # The page is gone with the click, and what it said of it has arrived.
    site.until(lambda: not Notification.objects.filter(read_at=None).exists(), "the click was not heard")
    site.browser.close()
    site.browser.switch_to.window(first)
    assert second != first
    site.until(lambda: site.texts(INBOX, "badge") == [], "the other tab does not know")


def test_seen_is_what_a_person_could_see(site: Site) -> None:
    site.open("inbox=1")
    site.until_live()
    first = site.browser.current_window_handle
    site.browser.switch_to.new_window("tab")
    site.notify("In a tab behind")
    site.browser.get(f"{site.origin}/")
    site.until(Notification.objects.exists, "not folded")
    assert not Notification.objects.filter(seen_at__isnull=False).exists()
    site.browser.close()
    site.browser.switch_to.window(first)
    site.until(lambda: site.toasts() == ["In a tab behind"], "no toast")
    site.until(lambda: Notification.objects.filter(seen_at__isnull=False).exists(), "not seen")
    assert Notification.objects.filter(read_at=None).exists()


def test_older_ones_come_by_the_page_and_new_ones_by_themselves(site: Site) -> None:
    for number in range(1, 46):
        site.notify(f"Number {number}")
    site.open("inbox=1")
    site.until_live()
    part(site, INBOX, "bell").click()
    site.until(lambda: len(site.texts(INBOX, "headline")) == 20, "no list")
    assert site.texts(INBOX, "badge") == ["45"]
    for count in (40, 45):
        part(site, INBOX, "older").click()
        site.until(lambda count=count: len(site.texts(INBOX, "headline")) == count, "not longer")
    assert site.texts(INBOX, "older") == []
    site.notify("The newest")
    site.until(lambda: "The newest" in site.texts(INBOX, "headline")[0], "not told")
    assert site.texts(INBOX, "badge") == ["46"]


def test_an_inbox_that_cannot_be_read_says_so_and_tries_again(site: Site) -> None:
    site.notify("Hello")
    site.open("inbox=1")
    site.until_live()
    port = site.gateway.port
    site.gateway.stop()
    part(site, INBOX, "bell").click()
    site.until(lambda: site.texts(INBOX, "trouble") == ["The messages could not be loaded."], "not told")
    site.gateway = site.project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol", port=port)
    assert site.texts(INBOX, "older") == ["Try again"]
    part(site, INBOX, "older").click()
    site.until(lambda: len(site.texts(INBOX, "notification")) == 1, "no list")
    assert site.texts(INBOX, "trouble") == []


def test_an_inbox_without_javascript(site: Site) -> None:
    site.notify("Your <b>album</b> is ready", url="/page/?album")
    site.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    site.open("inbox=1")
    shown = site.browser.find_element(By.TAG_NAME, INBOX)
    assert shown.text == "Inbox (1)"
    shown.find_element(By.TAG_NAME, "summary").click()
    assert shown.text.splitlines()[1:] == ["Your <b>album</b> is ready (Unread)", "Reload"]
    shown.find_element(By.LINK_TEXT, "Reload").click()
    site.browser.find_element(By.TAG_NAME, "summary").click()
    site.browser.find_element(By.LINK_TEXT, "Your <b>album</b> is ready").click()
    assert site.browser.current_url.endswith("?album")
    site.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_markup_and_addresses_of_a_notification_are_text(site: Site) -> None:
    site.open("inbox=1")
    site.until_live()
    evil = '<img src=x onerror="window.pwned=1">'
    told = {"id": new_run(), "title": evil, "body": evil, "url": "javascript:window.pwned=1", "level": evil}
    # Past the check of `notify`, as a table that was written by hand would have it.
    site.publish("notification", {**told, "kind": "", "run": None, "at": "2026-01-01T00:00:00.000Z"})
    site.until(lambda: site.toasts() == [f"{evil}\n{evil}"], "no toast")
    made = "return document.querySelector(arguments[0]).shadowRoot.querySelector('img, a')"
    assert [site.run(made, element) for element in (TOASTS, INBOX)] == [None, None]
    assert site.run("return window.pwned") is None
    assert part(site, TOASTS, "toast").get_attribute("part") == "toast info"


def test_a_toast_of_a_notification(site: Site) -> None:
    site.open()
    site.until_live()
    site.notify("Payment failed", level="error", url="/page/?billing", body="Your card was declined.")
    site.notify("Saved", level="success")
    site.until(lambda: len(site.toasts()) == 2, "no toasts")
    spoken = {role: site.shadow(TOASTS).find_element(By.CSS_SELECTOR, f"[role={role}]") for role in ("alert", "status")}
    assert spoken["alert"].get_attribute("textContent") == "Payment failed. Your card was declined."
    assert spoken["status"].get_attribute("textContent") == "Saved"
    # Nothing goes under the hand, or the focus, of whoever reads it.
    link = part(site, TOASTS, "link")
    site.run("arguments[0].focus()", link)
    assert (link.text, link.accessible_name) == ("Payment failed", "Payment failed")
    link.click()
    site.until(lambda: site.browser.current_url.endswith("?billing"), "the link was not followed")
    site.until(lambda: Notification.objects.get(title="Payment failed").read_at, "not read")


def test_a_task_that_notifies_and_finishes_is_told_once(site: Site) -> None:
    site.open()
    site.until_live()
    first, second = new_run(), new_run()
    site.notify("Your report is ready", run=first)
    site.tell(first, "succeeded")
    site.tell(second, "succeeded", label="Your album")
    site.until(lambda: site.toasts() == ["Your report is ready", "Your album finished"], "not told once")
    site.notify("Your album is ready", run=second)
    site.until(lambda: site.toasts() == ["Your report is ready", "Your album is ready"], "not told once")


def test_more_toasts_than_there_is_room_for(site: Site) -> None:
    site.open()
    site.until_live()
    for number in range(1, 9):
        site.notify(f"Error {number}", level="error")
        site.notify(f"News {number}")
    site.until(lambda: site.texts(TOASTS, "more") == ["3 more"], "they do not wait")
    assert site.toasts() == [f"Error {number}" for number in range(1, 6)]
    part(site, TOASTS, "dismiss").click()
    site.until(lambda: site.toasts() == [f"Error {number}" for number in range(2, 7)], "the next does not come")
    part(site, TOASTS, "dismiss-all").click()
    assert (site.toasts(), site.texts(TOASTS, "rest")) == ([], [])


def test_what_was_read_elsewhere_is_not_told_any_more(site: Site) -> None:
    site.open()
    site.until_live()
    site.notify("Payment failed", level="error")
    site.until(lambda: len(site.toasts()) == 1, "no toast")
    site.run("taskbell.read('all')")
    site.until(lambda: site.toasts() == [], "it stays")


@pytest.mark.parametrize("silent", ["", "1"], ids=["with toasts", "without"])
def test_an_ending_is_spoken_once(site: Site, silent: str) -> None:
    run = new_run()
    site.fact("queued", run)
    site.open(f"run={run}&inbox=1&silent={silent}")
    site.until_live()
    said = "return [...document.querySelectorAll('taskbell-run, taskbell-toasts, taskbell-inbox')].flatMap((each) =>"
    said += " [...each.shadowRoot.querySelectorAll('[role=status], [role=alert]')].map((live) => live.innerText))"
    said += ".filter((text) => text !== '')"
    assert site.run(said) == []
    site.fact("started", run)
    site.until(lambda: site.run(said) == ["Resizing photo: Running"], "the start is not spoken")
    site.fact("progress", run, done=1, total=2)
    site.until(lambda: site.texts(RUN, "percent") == ["50%"], "no progress")
    assert site.run(said) == ["Resizing photo: Running"]
    site.fact("succeeded", run)
    ending = ["Resizing photo: Finished"] if silent else ["Resizing photo finished"]
    site.until(lambda: site.run(said) == ending, "the end is not spoken once")


def test_steps_stay_unfolded_while_they_move(site: Site) -> None:
    site.open("runs=1")
    site.until_live()
    tree = new_run()

    def tell(*states: str) -> None:
        listed = [{"id": str(at), "label": f"Step <{at}>", "state": state} for at, state in enumerate(states)]
        steps = {"total": 3, "failed": states.count("failed"), "list": listed}
        site.tell(tree, "running", label="Import", done=states.count("succeeded"), total=3, steps=steps)

    tell("running", "queued")
    site.until(lambda: site.texts(RUN, "summary") == ["0 of 3 steps"], "no steps")
    assert site.texts(RUN, "step") == []
    part(site, RUN, "summary").click()
    assert site.texts(RUN, "step") == ["Step <0>\nRunning", "Step <1>\nQueued"]
    assert site.texts(RUN, "more") == ["and 1 more step"]
    tell("succeeded", "failed", "skipped")
    site.until(lambda: site.texts(RUN, "summary") == ["1 of 3 steps · 1 failed"], "not told")
    assert site.texts(RUN, "step") == ["Step <0>\nFinished", "Step <1>\nFailed", "Step <2>\nSkipped"]
    assert site.texts(RUN, "more") == []


def test_the_next_attempt_runs_down_in_silence(site: Site) -> None:
    site.open("runs=1")
    site.until_live()
    due = timezone.now() + timezone.timedelta(seconds=50)
    site.tell(new_run(), "retrying", attempt=2, next_attempt_at=due.isoformat())
    shown = site.until(lambda: site.texts(RUN, "detail"), "no time")
    assert "in " in shown[0]
    assert "seconds)" in shown[0]
    site.until(lambda: site.texts(RUN, "detail") != shown, "it does not run down")
    assert (
        site.run(f"return document.querySelector('{RUN}').shadowRoot.querySelector('[part=detail]').closest('[role]')")
        is None
    )


MEDIA: list[dict[str, Any]] = [
    {"name": "prefers-reduced-motion", "value": "reduce"},
    {"name": "forced-colors", "value": "active"},
]


def test_less_motion_and_forced_colours(site: Site) -> None:
    site.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": MEDIA})
    site.browser.set_window_size(1100, 1500)
    site.notify("Payment failed", level="error")
    site.open("runs=1&inbox=1")
    site.until_live()
    tell_everything(site)
    site.until(lambda: len(site.toasts()) == 5, "no toasts")
    moving = "return document.getAnimations().map(({effect}) => effect.target.getAttribute('part'))"
    assert site.run(moving) == []
    site.picture("forced-colours")
    assert violations(site.browser) == []
    part(site, INBOX, "bell").click()
    site.until(lambda: len(site.texts(INBOX, "notification")) == 1, "no list")
    assert site.run(moving) == []
    site.picture("forced-colours-inbox")


def test_the_page_chooses_dark_by_a_property(site: Site) -> None:
    site.open("runs=1&inbox=1")
    site.until_live()
    panel = part(site, INBOX, "panel")
    colour = "return getComputedStyle(arguments[0]).backgroundColor"
    assert site.run(colour, panel) == "rgb(255, 255, 255)"
    site.run("document.documentElement.style.setProperty('--taskbell-scheme', 'dark')")
    assert site.run(colour, panel) == "rgb(36, 40, 45)"


def test_on_a_narrow_screen_the_panel_fits(site: Site) -> None:
    for title in ("Your storage is nearly full", "A" * 60):
        site.notify(title, body="9.6 of 10 GB are used. " * 5)
    site.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 340, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    )
    site.open("inbox=1&silent=1")
    site.until_live()
    part(site, INBOX, "bell").click()
    site.until(lambda: len(site.texts(INBOX, "notification")) == 2, "no list")
    box = site.run("return arguments[0].getBoundingClientRect().toJSON()", part(site, INBOX, "panel"))
    assert box["left"] >= 0
    assert box["right"] <= 340
    assert box["bottom"] <= 640
    site.picture("inbox-phone")
