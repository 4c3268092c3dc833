"""A newcomer does what the pages say, from `startproject` on, with a real server and with a real browser."""

import json
import re
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.markdown import ROOT, examples, story
from tests.newcomer import PORT, QUICKSTART, README, Newcomer, celery_project, newcomer
from tests.reader import SECONDS, USER, ByHand, InChromium, Reader
from tests.servers.valkey import Valkey


def follow(page: Path, newcomer: Newcomer, reader: Reader) -> int:
    """Do everything that a page says; return how many lines the console showed."""
    reader.site = newcomer.site
    lines = 0
    for step in story(page):
        if isinstance(step, str):
            act(step, newcomer, reader)
        elif "run" in step.words:
            newcomer.run(step.text)
        elif "serve" in step.words:
            newcomer.serve(step.text)
        elif "console" in step.words:
            assert reader.line() == step.text.strip()
            lines += 1
        elif step.language == "js":
            reader.type(step.text)
        else:
            newcomer.write(step)
    return lines


def act(prose: str, newcomer: Newcomer, reader: Reader) -> None:
    """Do what stands between the examples: visit links, stop and start the server."""
    for path, command in re.findall(rf"<http://127\.0\.0\.1:{PORT}(/\S*)>|<!-- (stop|start) -->", prose):
        if path == "/admin/":
            reader.sign_in()
        elif path:
            reader.visit(path)
        elif command == "stop":
            newcomer.stop()
        else:
            newcomer.start_again()


def say(newcomer: Newcomer, text: str) -> str:
    payload = json.dumps({"msg": text}, separators=(",", ":"))
    newcomer.run(f"python manage.py taskbell publish --user {USER} message '{payload}'")
    return payload


@pytest.mark.proof
def test_the_quickstart(tmp_path: Path) -> None:
    with newcomer(tmp_path) as one, closing(ByHand()) as reader:
        assert follow(QUICKSTART, one, reader) == 3
        # The page ends with the real gateway, to which the console comes back.
        said = say(one, "From the gateway")
        assert reader.line() == said
        assert documented_headers().items() <= reader.headers.items()


@pytest.mark.browser
def test_the_quickstart_in_a_browser(tmp_path: Path, browser: Chrome) -> None:
    reader = InChromium(browser)
    with newcomer(tmp_path) as one:
        assert follow(QUICKSTART, one, reader) == 3
        said = say(one, "From the gateway")
        assert reader.line() == said


@pytest.mark.proof
def test_the_lines_of_the_readme(tmp_path: Path, valkey: Valkey) -> None:
    [script] = examples(README, "js")
    with celery_project(tmp_path, valkey) as one, closing(ByHand()) as reader:
        reader.site = one.site
        reader.sign_in()
        reader.type(script.text)
        said = say(one, "Saved")
        assert reader.line() == said
        reader.visit("/report/")
        told = reader.runs()
        assert {(run["name"], run["label"]) for run in told} == {("mysite.tasks.make_report", "Your report")}
        assert [state for state, _ in groupby(run["state"] for run in told)][-2:] == ["running", "succeeded"]
        assert (told[-1]["done"], told[-1]["total"], told[-1]["message"]) == (3, 3, "Writing pages")


@pytest.mark.browser
def test_the_lines_of_the_readme_in_a_browser(tmp_path: Path, valkey: Valkey, browser: Chrome) -> None:
    reader = InChromium(browser)
    with celery_project(tmp_path, valkey) as one:
        reader.site = one.site
        reader.sign_in()
        browser.get(f"{one.site}/report/")
        for element, where, said in (
            ("taskbell-run", "[part=state]", "Finished"),
            ("taskbell-toasts", "[part=title]", "Your report finished"),
        ):
            shadow = browser.find_element(By.TAG_NAME, element).shadow_root
            WebDriverWait(browser, SECONDS).until(
                lambda _, shadow=shadow, where=where, said=said: (
                    [shown.text for shown in shadow.find_elements(By.CSS_SELECTOR, where)] == [said]
                ),
                message=f"{element}: {said}",
            )


def documented_headers() -> dict[str, str]:
    [example] = examples(ROOT / "docs" / "reference" / "wire.md", "http")
    headers = (line.partition(": ") for line in example.text.splitlines())
    return {name.lower(): value for name, _, value in headers}
