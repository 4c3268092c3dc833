"""What docs/how-to/frameworks.md says, done in a project with a worker, and looked at in Chromium."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.js.node import MODULES, node_module, node_tool
from tests.markdown import ROOT, examples
from tests.newcomer import Newcomer, celery_project
from tests.reader import SECONDS, InChromium
from tests.servers.valkey import Valkey

pytestmark = pytest.mark.browser

PAGE = ROOT / "docs/how-to/frameworks.md"
FETCHED = (
    "return performance.getEntriesByType('resource').filter(({name}) => /reports.[0-9a-f-]{36}/.test(name)).length"
)
STATE = "return document.querySelector('taskbell-run')?.run?.state"


def open_page(one: Newcomer, browser: Chrome, path: str) -> None:
    reader = InChromium(browser)
    reader.site = one.site
    reader.sign_in()
    browser.get(f"{one.site}{path}")
    until(browser, lambda: browser.execute_script("return taskbell.status") == "live", "not live")


def until(browser: Chrome, ask: Callable[[], Any], what: str) -> Any:
    return WebDriverWait(browser, SECONDS).until(lambda _: ask(), message=what)


@pytest.mark.parametrize("version", ["2", "4"])
def test_htmx(tmp_path: Path, valkey: Valkey, browser: Chrome, version: str) -> None:
    with celery_project(tmp_path, valkey, PAGE) as one:
        [page] = [example for example in examples(PAGE, "html") if "htmx-2" in example.text]
        one.put(page.value("file"), page.text.replace("htmx-2", f"htmx-{version}"))
        open_page(one, browser, "/reports/")
        browser.execute_script(
            "addEventListener('taskbell:run', ({detail}) => (window.states ??= []).push(detail.state))"
        )
        browser.find_element(By.TAG_NAME, "button").click()
        link = until(browser, lambda: browser.find_elements(By.LINK_TEXT, "Download"), "not fetched anew")[0]
        assert link.get_attribute("href").endswith(".pdf")
        assert browser.execute_script(STATE) == "succeeded"
        assert len(browser.find_elements(By.TAG_NAME, "section")) == 1
        assert browser.execute_script("return states.at(-1)") == "succeeded"
        # The fragment that shows the end does not fetch itself again.
        browser.find_element(By.TAG_NAME, "button").click()
        until(browser, lambda: len(browser.find_elements(By.LINK_TEXT, "Download")) == 2, "the second is not fetched")
        assert browser.execute_script(FETCHED) == 2


def test_jinja2(tmp_path: Path, valkey: Valkey, browser: Chrome) -> None:
    with celery_project(tmp_path, valkey, PAGE) as one:
        open_page(one, browser, "/reports/jinja/")
        browser.execute_script("fetch('/report/')")
        until(browser, lambda: browser.execute_script(STATE) == "succeeded", "the list does not show it")
        toasts = browser.find_element(By.TAG_NAME, "taskbell-toasts").shadow_root
        titles = until(browser, lambda: toasts.find_elements(By.CSS_SELECTOR, "[part=title]"), "no toast")
        assert [title.text for title in titles] == ["Your report finished"]
        browser.refresh()
        run = browser.find_element(By.CSS_SELECTOR, "taskbell-runs > taskbell-run")
        assert run.get_attribute("textContent") == "Your report: Finished"


def test_react(tmp_path: Path, valkey: Valkey, browser: Chrome) -> None:
    node_module("react-dom")
    [build] = [example for example in examples(PAGE, "shell") if "esbuild" in example.text]
    _, _, *options = shlex.split(build.text.splitlines()[-1])
    with celery_project(tmp_path, valkey, PAGE) as one:
        argv = [node_tool("esbuild"), "--log-level=warning", *options]
        subprocess.run(argv, check=True, cwd=one.place, env=os.environ | {"NODE_PATH": str(MODULES)})
        open_page(one, browser, "/reports/react/")
        root = browser.find_element(By.ID, "root")
        button = until(browser, lambda: root.find_elements(By.TAG_NAME, "button"), "React did not start")[0]
        until(browser, lambda: root.find_element(By.TAG_NAME, "small").text == "live", "the status does not show")
        button.click()
        shown = until(browser, lambda: root.find_elements(By.TAG_NAME, "p"), "no run")[0]
        until(browser, lambda: shown.text.startswith("Your report: running"), "it does not run")
        until(browser, lambda: shown.text.startswith("Your report: succeeded"), "it does not end")
        bar = shown.find_element(By.TAG_NAME, "progress")
        assert (bar.get_attribute("value"), bar.get_attribute("max")) == ("3", "3")
        assert browser.execute_script(STATE) == "succeeded"
        first = browser.execute_script("return document.querySelector('taskbell-run').run.id")
        button.click()
        until(browser, lambda: browser.execute_script(STATE) == "running", "the element does not show the newest")
        assert browser.execute_script("return document.querySelector('taskbell-run').run.id") != first
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert [error for error in errors if "favicon" not in error] == []
