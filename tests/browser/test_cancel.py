"""The button of a run, in Chromium on a real gateway: asked for once, told honestly, and never a loop."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from taskbell.models import Run
from tests.browser.site import Site, new_run

pytestmark = pytest.mark.browser

ELEMENT = "taskbell-run"
FOCUSED = "return document.querySelector('taskbell-run').shadowRoot.activeElement?.getAttribute('part')"


def started(site: Site) -> str:
    """Open the page of a run that is under way."""
    run = new_run()
    site.fact("started", run)
    site.open(f"run={run}")
    site.until_live()
    return run


def button(site: Site) -> WebElement:
    return site.shadow(ELEMENT).find_element(By.CSS_SELECTOR, "[part=cancel]")


def wish(run: str) -> bool:
    return Run.objects.filter(id=run, cancel_requested_at__isnull=False).exists()


def test_a_wish_is_shown_from_the_button_to_the_ending(site: Site) -> None:
    run = started(site)
    assert (button(site).text, button(site).accessible_name) == ("Cancel", "Cancel: Resizing photo")
    button(site).click()
    site.until(lambda: site.texts(ELEMENT, "state") == ["Cancelling…"], "the wish is not shown")
    assert site.texts(ELEMENT, "cancel") == []
    site.until(lambda: wish(run), "the wish was not noted")
    site.fact("progress", run, done=3, total=4)
    site.until(lambda: site.texts(ELEMENT, "percent") == ["75%"], "the bar stands still")
    assert site.texts(ELEMENT, "state") == ["Cancelling…"]
    site.fact("cancelled", run)
    site.until(lambda: site.texts(ELEMENT, "state") == ["Cancelled"], "not cancelled")
    assert site.texts(ELEMENT, "note") == []
    assert site.toasts() == ["Resizing photo cancelled"]


def test_by_keyboard_the_focus_stays_at_the_run(site: Site) -> None:
    started(site)
    site.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert site.run(FOCUSED) == "cancel"
    site.browser.switch_to.active_element.send_keys(Keys.ENTER)
    site.until(lambda: site.texts(ELEMENT, "cancel") == [], "the button stays")
    assert str(site.run(FOCUSED)).startswith("run ")


def test_a_task_that_ends_all_the_same_is_shown_as_it_ended(site: Site) -> None:
    run = started(site)
    button(site).click()
    site.until(lambda: wish(run), "the wish was not noted")
    site.fact("succeeded", run)
    site.until(lambda: site.texts(ELEMENT, "state") == ["Finished"], "not finished")
    assert site.texts(ELEMENT, "note") == ["It ended before it could be cancelled."]


def test_a_task_that_had_ended_when_the_button_was_pressed(site: Site) -> None:
    run = started(site)
    site.run("taskbell.stop()")
    site.fact("succeeded", run)
    site.until(lambda: Run.objects.filter(id=run, state="succeeded").exists(), "not folded")
    button(site).click()
    site.until(lambda: site.texts(ELEMENT, "state") == ["Finished"], "not told")
    assert site.texts(ELEMENT, "note") == ["It ended before it could be cancelled."]
    # Chromium logs the answer 409 as an error of the network.
    assert all("409" in problem for problem in site.problems())


def test_a_wish_from_elsewhere_is_shown_too(site: Site) -> None:
    run = started(site)
    site.fact("cancelling", run)
    site.until(lambda: site.texts(ELEMENT, "state") == ["Cancelling…"], "the wish is not shown")
    assert site.texts(ELEMENT, "cancel") == []


def test_a_page_from_before_another_sign_in_is_told_once(site: Site) -> None:
    run = started(site)
    asked = "return performance.getEntriesByType('resource').filter(({name}) => name.endsWith('/cancel/')).length"
    site.browser.add_cookie({"name": "csrftoken", "value": "a" * 32})
    button(site).click()
    stale = ["This page is out of date. Load it again, then try once more."]
    site.until(lambda: site.texts(ELEMENT, "refused") == stale, "not told")
    assert site.texts(ELEMENT, "state") == ["Running"]
    assert site.texts(ELEMENT, "cancel") == ["Cancel"]
    assert site.shadow(ELEMENT).find_element(By.CSS_SELECTOR, "[part=refused]").get_attribute("role") == "alert"
    assert site.run(asked) == 1
    assert not wish(run)
    assert all("403" in problem for problem in site.problems())

    site.open(f"run={run}")
    site.until_live()
    button(site).click()
    site.until(lambda: wish(run), "the page that was loaded again is not heard")


def test_a_server_that_is_away_is_told_and_asked_again(site: Site) -> None:
    run = started(site)
    port = site.gateway.port
    site.gateway.stop()
    button(site).click()
    site.until(lambda: site.texts(ELEMENT, "refused") == ["It could not be cancelled. Try again."], "not told")
    site.gateway = site.project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol", port=port)
    button(site).click()
    site.until(lambda: wish(run), "the second wish was not noted")
    assert site.texts(ELEMENT, "refused") == []


def test_by_script(site: Site) -> None:
    run = started(site)
    site.run(
        """
        const watch = taskbell.watch(arguments[0]);
        watch.cancel().then(({ cancelling }) => (window.cancelling = cancelling));
        watch.finished.then(({ state }) => (window.finished = state));
        taskbell.cancel("no such run").catch(({ message, cause }) => (window.refused = [message, cause]));
        """,
        run,
    )
    site.until(lambda: site.run("return window.cancelling") is True, "no answer")
    site.until(lambda: site.run("return window.refused") == ["No such run.", 404], "not refused")
    site.fact("cancelled", run)
    site.until(lambda: site.run("return window.finished") == "cancelled", "not finished")
    assert all("404" in problem for problem in site.problems())
