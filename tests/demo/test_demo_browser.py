"""The demo as a person meets it: Chromium presses the buttons, and reads what the page says."""

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser.axe import violations
from tests.demo.page import CANCEL, DISMISS, INBOX, KEEP_CARDS, OPEN_INBOX, PICTURES, READ_ALL, SAID, Page
from tests.demo.running import Demo, Person

pytestmark = pytest.mark.browser

# The demo's LEASE, and what we promise on top of it.
LOST_SECONDS: Final = 5 + 5
# What Chromium itself says of a server that is away.
AWAY: Final = "net::ERR_"
TOLD: Final = ["run Task · succeeded", "run Task · running", "run Task · queued"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo")).ready()
    yield demo
    demo.stop()


@pytest.fixture
def page(demo: Demo, browser: Chrome) -> Iterator[Page]:
    page = Page(demo, browser)
    yield page
    # Chromium tells of everything that the policy forbids.
    assert [text for text in page.complaints() if AWAY not in text] == []
    page.run(DISMISS)
    page.browser.delete_cookie("django_language")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    page.browser.get("about:blank")


def test_a_task_runs_and_rings(page: Page) -> None:
    page.run("window.loaded = true")
    page.press("Run a task")
    page.newest("running")
    page.until(lambda: page.toasts() == ["Task finished"], "no toast")
    assert page.run(SAID) == ["Task finished"]
    assert page.runs()[0]["state"] == "succeeded"
    assert page.run("return window.loaded"), "it was reloaded"
    assert page.asked() == ["/tasks/"], "it was polled"
    frames = page.browser.find_elements(By.CSS_SELECTOR, "#frames li")
    # A task that is quick off the mark was never seen to be queued.
    told = [frame.text for frame in frames]
    assert told in (TOLD, TOLD[:2])
    frames[0].find_element(By.TAG_NAME, "summary").click()
    assert "\nid: 1." in frames[0].text
    assert '\nevent: run\ndata: {"id":"' in frames[0].text
    assert '"state":"succeeded"' in frames[0].text


def test_the_line_for_the_console_works(page: Page) -> None:
    page.run("""
        window.told = [];
        const stream = new EventSource("/events/demo/");
        stream.addEventListener("ping", () => (window.open_ = true));
        stream.addEventListener("run", event => window.told.push(JSON.parse(event.data).state));
    """)
    page.until(lambda: page.run("return window.open_"), "no stream")
    task_id = Person(page.demo).start(seconds=0)
    page.until(lambda: "succeeded" in page.run("return window.told"), "not told")
    page.until(lambda: page.rung(task_id) == ["succeeded"], "no toast")


def test_sample_photos_move_their_bars_and_become_pictures(page: Page) -> None:
    page.press("Use six sample photos")
    page.newest("running")
    seen: set[float] = set()

    def finished() -> bool:
        seen.update(tile["done"] for tile in page.tiles() if tile is not None and tile["done"])
        return page.newest_is("succeeded")

    page.until(finished, "not finished", timeout=40)
    assert len(seen) > 3, "no bar moved"
    assert [tile and (tile["state"], tile["step"]) for tile in page.tiles()] == [("succeeded", n) for n in range(6)]
    assert page.runs()[0]["label"] == "6 photos"
    page.until(lambda: page.run(PICTURES) == 36, "no pictures")
    page.until(lambda: "6 photos finished" in page.toasts(), "no toast")
    assert page.toasts().count("6 photos finished") == 1
    assert page.asked() == ["/photos/samples/"], "it was polled"
    page.open()
    page.until(lambda: page.run(PICTURES) == 36, "no pictures after a reload")


def test_a_reload_in_the_middle_of_an_album(page: Page) -> None:
    page.press("Use six sample photos")
    page.until(lambda: any(tile and tile["state"] == "running" for tile in page.tiles()), "nothing runs")
    page.until(lambda: len(page.tiles()) == 6, "the album is not whole")  # a photo may run before the last one is sent
    page.open()
    assert len(page.tiles()) == 6
    page.until(lambda: page.run(PICTURES) == 36, "no pictures", timeout=40)
    page.until(lambda: "6 photos finished" in page.toasts(), "no toast")  # or the next page of a test is told


def test_several_photos_are_uploaded_at_once(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for file in files:
        Image.effect_mandelbrot((1600, 1200), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(file)
    page.choose(*files)
    page.until(lambda: "3 photos finished" in page.toasts(), "no toast", timeout=40)
    page.until(lambda: page.run(PICTURES) == 18, "no pictures")
    links = page.browser.find_elements(By.CSS_SELECTOR, "#photos > li:first-child a")
    assert [link.get_attribute("title") for link in links] == ["Plain", "Vivid", "Mono", "Sepia", "Dream", "Ink"]


def test_photos_are_dropped_on_the_card(page: Page) -> None:
    page.run("""
        const canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 60 });
        canvas.toBlob(blob => {
            const files = new DataTransfer();
            files.items.add(new File([blob], "a.png", { type: "image/png" }));
            files.items.add(new File([blob], "b.png", { type: "image/png" }));
            const drop = new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true });
            document.getElementById("start").dispatchEvent(drop);
        });
    """)
    page.until(lambda: "2 photos finished" in page.toasts(), "no toast")


def test_an_upload_that_is_no_photo_is_told_in_words_where_it_was_chosen(page: Page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")
    page.choose(tmp_path / "photo.jpg")
    trouble = page.browser.find_element(By.CSS_SELECTOR, "#start .trouble")
    page.until(lambda: trouble.text == "photo.jpg: This is not a JPEG, PNG or WebP picture.", "not told")
    assert [text for text in page.complaints() if "400" not in text] == []


def test_a_photo_that_was_cut_short_fails_in_words_beside_one_that_does_not(page: Page, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.effect_mandelbrot((800, 600), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(file, "JPEG")
    (tmp_path / "short.jpg").write_bytes(file.getvalue()[:5000])
    (tmp_path / "whole.jpg").write_bytes(file.getvalue())
    page.choose(tmp_path / "short.jpg", tmp_path / "whole.jpg")
    page.until(lambda: page.run(SAID) == ["2 photos failed. This picture is damaged or cut short."], "not told")
    assert [tile and tile["state"] for tile in page.tiles()] == ["failed", "succeeded"]
    page.until(lambda: page.run(PICTURES) == 6, "no pictures")


def test_a_failure_shows_its_reason(page: Page) -> None:
    page.press("Fail for a reason")
    page.until(lambda: page.run(SAID) == ["Import failed. Row 17 has no date."], "not told")
    assert page.card() == "Import Failed Row 17 has no date."


def test_a_crash_shows_a_reference(page: Page) -> None:
    page.press("Crash")
    page.until(lambda: page.toasts() == ["Import failed"], "no toast")
    assert f"Reference {page.runs()[0]['error']['reference']}" in page.run(SAID)[0]


def test_a_retry_shows_why_and_when_the_next_attempt_comes(page: Page) -> None:
    page.run(KEEP_CARDS)
    page.press("Retry twice")
    due = r"Tries again (at [\d:]+ [AP]M \(.+\)|any moment)"
    shown = rf"Delivery Retrying Cancel (.* · )?{due} · Nobody opened the door\."
    page.until(lambda: any(re.fullmatch(shown, card) for card in page.run("return cards")), "not shown")
    page.until(lambda: page.toasts() == ["Delivery finished"], "no toast", timeout=60)
    assert page.runs()[0]["attempt"] == 3


def test_what_runs_is_cancelled_on_the_page(page: Page) -> None:
    page.press("Run a long one")
    page.newest("running")
    page.run(CANCEL)
    page.newest("cancelled")
    page.until(lambda: page.toasts() == ["Task cancelled"], "not told")


def test_an_album_is_cancelled_with_all_its_photos(page: Page) -> None:
    page.press("Use six sample photos")
    page.until(lambda: any(tile and tile["state"] == "running" for tile in page.tiles()), "nothing runs")
    page.run(CANCEL)
    page.newest("cancelled")
    states = [tile and tile["state"] for tile in page.tiles()]
    assert "cancelled" in states
    assert set(states) <= {"cancelled", "succeeded"}


def test_a_reload_in_the_middle(page: Page) -> None:
    page.press("Run a task")
    task_id = page.newest("running")["task_id"]
    page.open()
    assert page.newest("running")["task_id"] == task_id
    page.until(lambda: page.toasts() == ["Task finished"], "no toast")
    assert page.rung(task_id) == ["succeeded"]


def test_a_report_rings_and_stands_at_the_bell(page: Page) -> None:
    before = page.unread()
    page.press("Start, and close the tab")
    page.until(lambda: page.unread() == before + 1, "nothing at the bell", timeout=40)
    page.until(lambda: page.toasts() == ["Your report is ready"], "not one toast")


def test_a_report_waits_at_the_bell_for_whoever_closed_the_tab(page: Page) -> None:
    before = page.unread()
    page.press("Start, and close the tab")
    task_id = page.newest("running")["task_id"]
    page.browser.get("about:blank")
    Person(page.demo).wait_until(task_id, "succeeded", timeout=60)
    page.open()
    page.until(lambda: page.unread() == before + 1, "nothing at the bell")
    page.run(OPEN_INBOX)
    page.until(lambda: "Your report is ready" in "".join(page.run(INBOX)[:1]), "not in the inbox")
    page.run(READ_ALL)
    page.until(lambda: page.unread() == 0, "still unread")
    page.open()
    assert page.unread() == 0


def test_web_push_is_offered_and_asks_for_nothing_by_itself(page: Page) -> None:
    assert page.run("return [taskbell.push.state, Notification.permission]") == ["off", "default"]
    assert page.run(
        "return document.querySelector('taskbell-push').shadowRoot.querySelector('button').checkVisibility()"
    )


def test_an_ending_between_two_pages(page: Page) -> None:
    task_id = Person(page.demo).start(seconds=1)
    page.until(lambda: any(run["task_id"] == task_id for run in page.runs()), "not there")
    page.browser.get("about:blank")
    person = Person(page.demo)
    person.wait_until(task_id, "succeeded")
    page.open()
    page.until(lambda: page.toasts() == ["Task finished"], "no toast")
    page.open()
    assert page.rung(task_id) in (["succeeded"], ["succeeded", "succeeded"]), "it rang for ever"
    time.sleep(2)  # long enough in sight: it is not shown again
    page.open()
    assert page.toasts() == []


def test_a_server_that_restarts_in_the_middle_rings_once(page: Page) -> None:
    before = page.demo.restarts()
    page.press("Stop the server")
    page.until(lambda: page.status() == "Server away, trying again", "it does not say that the server is away")
    task_id = page.runs()[0]["task_id"]
    page.until(lambda: page.status() == "Live", "not back", timeout=40)
    assert page.demo.restarts() == before + 1
    page.until(lambda: page.rung(task_id) == ["succeeded"], "no toast")
    page.press("Run a task")
    page.until(lambda: page.runs()[0]["task_id"] != task_id and page.newest("succeeded"), "not finished")
    assert page.rung(task_id) == ["succeeded"]


def test_a_killed_worker_is_told(page: Page) -> None:
    page.press("Kill the worker")
    task_id = page.newest("running")["task_id"]
    page.until(lambda: page.rung(task_id) == ["lost"], "not told", timeout=LOST_SECONDS + 2)
    assert page.run(SAID) == ["Task lost. The worker stopped."]
    assert page.runs()[0]["state"] == "lost"
    page.press("Run a task")
    page.until(lambda: "Task finished" in page.toasts(), "the worker does not come back", timeout=30)


def test_the_guest_sees_nothing(page: Page) -> None:
    mine = page.browser.current_window_handle
    page.press("Open as guest")
    page.until(lambda: len(page.browser.window_handles) == 2, "no window")
    guest = next(handle for handle in page.browser.window_handles if handle != mine)
    page.browser.switch_to.window(guest)
    page.until(lambda: page.status() == "Live", "not live")
    assert "You are guest" in page.header()
    page.browser.switch_to.window(mine)
    page.press("Run a task")
    page.until(lambda: page.toasts() == ["Task finished"], "no toast")
    page.browser.switch_to.window(guest)
    assert (page.runs(), page.toasts()) == ([], [])
    assert page.browser.find_element(By.ID, "frames").text == "Nothing yet. Press a button."
    # And the guest's own come, so the stream was open all the time.
    page.press("Run a task")
    page.until(lambda: page.toasts() == ["Task finished"], "no toast for the guest")
    assert len(page.runs()) == 1


def test_a_list_that_is_shorter_than_the_runs_is_asked_for_once(page: Page) -> None:
    person = Person(page.demo)
    for _ in range(4):
        task_id = person.start(seconds=0)
    person.wait_until(task_id, "succeeded")
    page.open()
    page.run("taskbell.refresh()")
    page.until(lambda: page.asked() == ["/taskbell/runs/"], "not asked for")
    page.press("Run a task")
    page.newest("running")
    page.newest("succeeded")
    assert page.asked().count("/taskbell/runs/") == 1


def test_two_tabs_both_know(page: Page) -> None:
    first = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    page.open()
    task_id = Person(page.demo).start(seconds=0)
    for tab in (page.browser.current_window_handle, first):
        page.browser.switch_to.window(tab)
        page.until(lambda: page.runs() and page.runs()[0]["state"] == "succeeded", "not told")
        assert page.runs()[0]["task_id"] == task_id


def test_being_the_other_person_on_the_same_page(page: Page) -> None:
    page.press("Run a task")
    page.newest("running")
    page.press("Be guest")
    page.until(lambda: "You are guest" in page.header(), "not guest")
    page.until(lambda: page.status() == "Live", "not live")
    assert not any(run["state"] == "running" for run in page.runs())
    page.press("Be demo")
    page.until(lambda: "You are demo" in page.header(), "not demo")
    page.newest("succeeded")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_sound_to_axe(page: Page, scheme: str, language: str) -> None:
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.open(path=f"/?lang={language}")
    page.run("document.getElementById('fail').click(); document.getElementById('samples').click()")
    page.until(lambda: page.run(SAID) != [], "nothing has failed")
    page.until(lambda: any(tile and tile["state"] == "succeeded" for tile in page.tiles()), "no pictures")
    assert violations(page.browser) == []


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280, 1440])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for language in ("en", "ko"):
        page.open(f"/?lang={language}")
        assert page.run("return document.documentElement.scrollWidth") <= width
