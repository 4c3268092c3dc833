"""The bundle in Chromium, under a strict policy, on a real gateway: what a person sees."""

import html
import re
import time

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.site import BLANK, Site, new_run

pytestmark = pytest.mark.browser


def test_a_toast_once_over_reload_and_restart(site: Site) -> None:
    site.open()
    site.until_live()
    site.tell(new_run(), "succeeded")
    site.until(lambda: site.toasts() == ["Resizing photo finished"], "no toast")
    site.picture("toast")
    # Twice as long as a toast must be seen to count as read, by timers that a busy machine holds up.
    time.sleep(3)

    site.open()
    site.until_live()
    site.tell(new_run(), "failed", error={"message": "Too dark.", "reference": "a1b2"})
    site.until(lambda: len(site.toasts()) == 1, "the failure alone, and not the first again")
    assert site.toasts() == ["Resizing photo failed\nToo dark.\nReference a1b2"]

    site.restart()
    site.tell(new_run(), "succeeded", label="Second photo")
    site.until(lambda: len(site.toasts()) == 2, "no toast after the restart")
    assert site.toasts()[1] == "Second photo finished"


def test_an_ending_between_two_pages(site: Site) -> None:
    site.open()
    site.until_live()
    site.browser.get("about:blank")
    site.tell(new_run(), "succeeded")
    site.open()
    site.until(lambda: site.toasts() == ["Resizing photo finished"], "no toast on the second page")


def test_a_toast_that_nobody_could_read_comes_again(site: Site) -> None:
    site.open()
    site.until_live()
    run = new_run()
    site.run("taskbell.on('run', () => setTimeout(() => location.reload(), 50))")
    site.tell(run, "succeeded")
    site.until(
        lambda: site.run("return !!performance.getEntriesByType('navigation')[0]?.type.includes('reload')"), "reload"
    )
    site.until(lambda: site.toasts() == ["Resizing photo finished"], "no toast after it was swept away")


def test_another_person_in_the_same_tab_hears_nothing(site: Site) -> None:
    site.open()
    site.until_live()
    site.browser.get("about:blank")
    site.tell(new_run(), "succeeded")
    site.browser.get(f"{site.origin}/page/")
    site.browser.delete_all_cookies()
    site.sign_in("bob")
    site.open()
    site.until_live()
    assert site.toasts() == []
    assert "ann" not in site.run("return JSON.stringify(sessionStorage)")


def test_signed_out(site: Site) -> None:
    site.open()
    site.until_live()
    assert site.run("return Object.keys(sessionStorage).length") == 1
    site.browser.delete_all_cookies()
    site.run("taskbell.stop(); taskbell.start()")
    site.until(lambda: site.run("return taskbell.status") == "signed-out", "still signed in")
    assert site.run("return Object.keys(sessionStorage).length") == 0
    site.open()
    assert site.run("return document.querySelector('[data-taskbell], taskbell-toasts')") is None
    # Chromium logs every 401, and this one was meant.
    assert all("401" in problem for problem in site.problems())


def test_a_run_from_start_to_end(site: Site) -> None:
    run = new_run()
    site.open()
    site.until_live()
    site.run(
        """
        const element = document.createElement("taskbell-run");
        element.setAttribute("run", arguments[0]);
        element.dataset.run = JSON.stringify(arguments[1]);
        window.seen = [];
        document.addEventListener("taskbell:run", ({ detail }) => window.seen.push(detail.state));
        document.querySelector("main").append(element);
        """,
        run,
        {**BLANK, "id": run, "task_id": "t", "state": "queued"},
    )
    element = "taskbell-run"
    assert site.texts(element, "label") == ["Resizing photo"]
    assert site.texts(element, "state") == ["Queued"]
    site.tell(run, "running", done=40, total=100, message="sharpen.jpg")
    site.until(lambda: site.texts(element, "percent") == ["40%"], "the bar does not move")
    bar = site.shadow(element).find_element(By.CSS_SELECTOR, "[part=bar]")
    assert (bar.aria_role, bar.accessible_name) == ("progressbar", "Resizing photo")
    assert bar.get_attribute("aria-valuenow") == "40"
    assert site.texts(element, "detail") == ["sharpen.jpg"]
    site.picture("run-running")
    site.tell(
        run,
        "retrying",
        attempt=2,
        next_attempt_at="2026-01-01T05:05:30Z",
        error={"message": "Busy.", "reference": None},
    )
    site.until(lambda: site.texts(element, "state") == ["Retrying"], "not retrying")
    assert site.texts(element, "detail") == ["Attempt 2 · Tries again any moment · Busy."]
    site.tell(run, "succeeded", result={"url": "/page/", "label": "Open <b>it</b>"})
    site.until(lambda: site.texts(element, "state") == ["Finished"], "not finished")
    assert site.texts(element, "bar") == []
    link = site.shadow(element).find_element(By.CSS_SELECTOR, "a")
    assert (link.text, link.get_attribute("href")) == ("Open <b>it</b>", f"{site.origin}/page/")
    assert site.run("return window.seen") == ["running", "retrying", "succeeded"]


def test_markup_and_addresses_of_a_payload_are_text(site: Site) -> None:
    site.open()
    site.until_live()
    evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    run = new_run()
    site.run(
        "const run = document.createElement('taskbell-run'); run.setAttribute('run', arguments[0].id);"
        "run.dataset.run = JSON.stringify(arguments[0]); document.querySelector('main').append(run)",
        {
            **BLANK,
            "id": run,
            "task_id": "t",
            "state": "succeeded",
            "result": {"url": "javascript:window.pwned=1", "label": evil},
        },
    )
    assert site.texts("taskbell-run", "result") == [evil]
    assert site.run("return document.querySelector('taskbell-run').shadowRoot.querySelector('a, img, script')") is None
    site.tell(new_run(), "failed", label=evil, error={"message": evil, "reference": evil})
    site.until(lambda: len(site.toasts()) == 1, "no toast")
    assert site.toasts()[0].startswith(evil)
    assert site.run("return window.pwned") is None


def test_a_card_that_is_moved_goes_on_where_it_was(site: Site) -> None:
    site.open("runs=1")
    site.until_live()
    first, second = site.tell(new_run(), "queued"), site.tell(new_run(), "queued")
    site.tell(first, "running", done=1, total=2)
    states = "return [...document.querySelectorAll('taskbell-run')].map(element => element.run.state)"
    site.until(lambda: site.run(states) == ["queued", "running"], "not told")
    site.run("document.querySelector('taskbell-runs').prepend([...document.querySelectorAll('taskbell-run')].at(-1))")
    assert site.run(states) == ["running", "queued"]
    site.tell(first, "succeeded")
    site.tell(second, "running")
    site.until(lambda: site.run(states) == ["succeeded", "running"], "not told after the move")


def test_a_list_grows_by_itself(site: Site) -> None:
    site.open("runs=1")
    site.until_live()
    assert site.texts("taskbell-runs", "none") == ["No tasks yet"]
    first, second = site.tell(new_run(), "queued"), site.tell(new_run(), "queued")
    ids = "return [...document.querySelectorAll('taskbell-runs > taskbell-run')].map(run => run.getAttribute('run'))"
    site.until(lambda: site.run(ids) == [second, first], "the list does not grow")
    assert site.texts("taskbell-runs", "none") == []
    site.tell(first, "running")
    site.until(lambda: site.run("return taskbell.watch(arguments[0]).id", first), "")
    assert site.run(ids) == [second, first]


def test_a_list_that_was_read_before_an_event_takes_nothing_out(site: Site) -> None:
    site.open("runs=1")
    site.until_live()
    site.run("window.got = []; taskbell.on('run', (run, { id }) => window.got.push(id))")
    for _ in range(2):
        site.tell(new_run(), "queued")
    site.until(lambda: site.run("return window.got.length") == 2, "not told")
    list_at = """
        const detail = { runs: [], cursor: window.got[arguments[0]] };
        taskbell.dispatchEvent(new CustomEvent("snapshot", { detail }));
    """
    left = "return document.querySelectorAll('taskbell-runs > taskbell-run').length"
    site.run(list_at, 0)
    assert site.run(left) == 1, "the second came after the list"
    site.run(list_at, 1)
    assert site.run(left) == 0


def test_a_run_with_steps_says_how_many_have_ended(site: Site) -> None:
    """Its steps are told of too, and have neither a card nor a toast of their own."""
    site.open("runs=1")
    site.until_live()
    tree, counted = new_run(), {"total": 7, "list": []}
    site.tell(tree, "running", label="Import 42", done=2, total=7, step=None, steps=counted)
    site.tell(new_run(), "failed", parent=tree, step=2, steps=None)
    site.tell(tree, "running", label="Import 42", done=3, total=7, step=None, steps=counted)
    site.until(lambda: site.texts("taskbell-run", "summary") == ["3 of 7 steps"], "the steps are not counted")
    assert (site.texts("taskbell-run", "label"), site.toasts()) == (["Import 42"], [])
    assert site.run("return document.querySelectorAll('taskbell-run').length") == 1
    site.tell(tree, "failed", label="Import 42", done=7, total=7, step=None, steps=counted)
    site.until(lambda: len(site.toasts()) == 1, "no toast for the whole")
    assert site.toasts()[0].startswith("Import 42 failed")


def test_toasts_by_keyboard(site: Site) -> None:
    site.open()
    site.until_live()
    for name in ("One", "Two", "Three"):
        site.tell(new_run(), "failed", label=name)
    site.until(lambda: len(site.toasts()) == 3, "no toasts")
    shadow = site.shadow("taskbell-toasts")
    said = shadow.find_element(By.CSS_SELECTOR, "[role=alert]")
    assert said.get_attribute("textContent") == "".join(
        f"{name} failed. Something went wrong." for name in ("One", "Two", "Three")
    )
    body = site.browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    focused = "return document.querySelector('taskbell-toasts').shadowRoot.activeElement?.closest('li').textContent"
    assert site.run(focused).startswith("One")
    site.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert site.run(focused).startswith("Two")
    site.browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert site.run(focused).startswith("Three")
    assert [text.split()[0] for text in site.toasts()] == ["Three"]


def test_handlers_of_a_page(site: Site) -> None:
    site.open()
    site.until_live()
    site.run(
        """
        window.got = [];
        taskbell.on("message", () => { throw new Error("a page's own mistake"); });
        taskbell.on("message", ({ msg }) => window.got.push(msg));
        taskbell.channel("public:news").on("story", ({ title }) => window.got.push(title));
        """
    )
    site.publish("message", {"msg": "hello"})
    site.publish("story", {"title": "news"}, channel="public:news")
    site.until(lambda: sorted(site.run("return window.got")) == ["hello", "news"], "not told")
    problems = site.problems()
    assert len(problems) == 1
    assert "a page's own mistake" in problems[0]


def test_going_back_to_a_page(site: Site) -> None:
    run = new_run()
    site.fact("started", run)
    site.open("runs=1")
    site.until_live()
    assert site.texts("taskbell-runs > taskbell-run", "state") == ["Running"]
    site.browser.get("about:blank")
    site.fact("succeeded", run)
    site.browser.back()
    site.until(lambda: site.toasts() == ["Resizing photo finished"], "no toast after going back")
    site.until(lambda: site.texts("taskbell-runs > taskbell-run", "state") == ["Finished"], "not repainted")


def test_watching_a_task_by_the_id_that_a_post_answered(site: Site) -> None:
    site.open()
    site.until_live()
    run = new_run()
    task = site.fact("queued", run)
    site.run("taskbell.watch(arguments[0]).finished.then((run) => (window.finished = run.state))", task)
    site.fact("started", run)
    site.fact("succeeded", run)
    site.until(lambda: site.run("return window.finished") == "succeeded", "not finished")
    assert site.run("return taskbell.watch(arguments[0]).finished.then(({ id }) => id)", task) == run


def test_a_fragment_that_comes_too_late(site: Site) -> None:
    run = new_run()
    site.fact("started", run)
    site.open()
    site.until_live()
    site.run(
        "return fetch('/fragment/' + arguments[0] + '/').then((answer) => answer.text())"
        ".then((text) => void (window.fragment = text))",
        run,
    )
    site.fact("succeeded", run)
    site.until(lambda: len(site.toasts()) == 1, "no toast")
    # Trusted Types forbid a page to make markup from text; a parser of its own stands in for htmx.
    found = dict(re.findall(r'(run|data-run|data-cursor)="([^"]*)"', site.run("return window.fragment")))
    site.run(
        "const run = document.createElement('taskbell-run');"
        "for (const [name, value] of Object.entries(arguments[0])) run.setAttribute(name, value);"
        "document.querySelector('main').append(run)",
        {name: html.unescape(value) for name, value in found.items()},
    )
    site.until(lambda: site.texts("taskbell-run", "state") == ["Finished"], "a bar that never ends")


def test_without_javascript(site: Site) -> None:
    run = new_run()
    site.fact("started", run)
    site.fact("progress", run, done=30, total=80)
    site.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    site.open("runs=1")
    shown = site.browser.find_element(By.TAG_NAME, "taskbell-run")
    assert shown.text == "Resizing photo: Running, 37 % Reload"
    site.fact("succeeded", run)
    site.browser.find_element(By.LINK_TEXT, "Reload").click()
    assert site.browser.find_element(By.TAG_NAME, "taskbell-run").text == "Resizing photo: Finished"
    site.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_in_korean(site: Site) -> None:
    site.open("lang=ko&runs=1")
    site.until_live()
    site.tell(new_run(), "succeeded", label="사진 변환")
    site.until(lambda: site.toasts() == ["사진 변환 완료"], "no toast")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures(site: Site, scheme: str) -> None:
    site.browser.set_window_size(1100, 900)
    site.open(f"scheme={scheme}&runs=1")
    site.until_live()
    site.tell(new_run(), "queued")
    site.tell(new_run(), "queued", late=True, label="Writing report")
    site.tell(new_run(), "running", label="Importing addresses")
    site.tell(new_run(), "running", done=42, total=100, message="beach-0042.jpg")
    site.tell(
        new_run(),
        "retrying",
        attempt=2,
        next_attempt_at="2026-01-01T05:05:30Z",
        error={"message": "The printer is busy.", "reference": None},
        label="Printing",
    )
    site.tell(new_run(), "lost", label="Sending letters")
    site.tell(
        new_run(), "failed", label="Reading scan", error={"message": "This file is no picture.", "reference": "7f3a9c"}
    )
    site.tell(new_run(), "cancelled", label="Counting stars")
    site.tell(new_run(), "succeeded", label="Making album", result={"url": "/page/", "label": "Open the album"})
    site.until(lambda: len(site.toasts()) == 4, "not all toasts")
    site.picture(f"all-{scheme}")
