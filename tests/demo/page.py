"""The demo's page as a person reads it, by scripts that look where they look."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.demo.running import Demo

WAIT: Final = 20

TOASTS: Final = """
    const shadow = document.querySelector("taskbell-toasts").shadowRoot;
    return [...shadow.querySelectorAll("[part~=toast] [part=title]")].map(title => title.textContent);
"""
# What had no time to be read would come again in the next test.
DISMISS: Final = """
    const shadow = document.querySelector("taskbell-toasts")?.shadowRoot;
    shadow?.querySelectorAll("[part=dismiss]").forEach(button => button.click());
"""
# What a screen reader says: the text in the live regions, which is apart from what is seen.
SAID: Final = """
    const shadow = document.querySelector("taskbell-toasts").shadowRoot;
    const regions = [...shadow.querySelectorAll("[role=status], [role=alert]")];
    return regions.map(region => region.textContent).filter(Boolean);
"""
RUNS: Final = """
    return [...document.querySelectorAll("taskbell-runs > taskbell-run")].map(element => element.run);
"""
PICTURES: Final = """
    return [...document.querySelectorAll("#photos img")].filter(image => image.naturalWidth > 0).length;
"""
UNREAD: Final = """
    return Number(document.querySelector("taskbell-inbox").shadowRoot.querySelector("[part=badge]").textContent);
"""
OPEN_INBOX: Final = """
    document.querySelector("taskbell-inbox").shadowRoot.querySelector("[part=bell]").click();
"""
INBOX: Final = """
    const shadow = document.querySelector("taskbell-inbox").shadowRoot;
    return [...shadow.querySelectorAll("[part=headline]")].map(headline => headline.textContent);
"""
READ_ALL: Final = """
    document.querySelector("taskbell-inbox").shadowRoot.querySelector("[part=read-all]").click();
"""
TILES: Final = """
    return [...document.querySelectorAll("#photos > li")].map(tile => tile.querySelector("taskbell-run")?.run ?? null);
"""
CANCEL: Final = """
    document.querySelector("taskbell-runs > taskbell-run").shadowRoot.querySelector("[part=cancel]").click();
"""
# What cards show at each change: on a busy machine the next change comes before it is asked for.
KEEP_CARDS: Final = """
    window.cards = [];
    addEventListener("taskbell:run", ({ target }) => setTimeout(() => {
        const card = target.shadowRoot.querySelector("[part~=run]");
        cards.push(card.innerText.replace(/\\s+/g, " "));
    }));
"""
# What the card of the newest run shows, as its reader sees it.
CARD: Final = """
    const card = document.querySelector("taskbell-runs > taskbell-run").shadowRoot.querySelector("[part~=run]");
    return card.innerText.replace(/\\s+/g, " ");
"""
# Every toast that ever was, also on the pages before: it is kept where the browser keeps it.
COUNT_TOASTS: Final = """
    addEventListener("taskbell:toast", ({ detail }) => {
        localStorage.toasts = (localStorage.toasts ?? "") + `${detail.task_id} ${detail.state}\\n`;
    });
"""


class Page:
    """One browser at the demo."""

    def __init__(self, demo: Demo, browser: Chrome) -> None:
        self.demo = demo
        self.browser = browser
        browser.set_window_size(1280, 1000)
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNT_TOASTS})
        self.open()

    def open(self, path: str = "/") -> None:
        self.browser.get(f"{self.demo.address}{path}")
        self.until(lambda: self.status() in ("Live", "연결됨"), "not live")

    def press(self, text: str) -> None:
        buttons = self.browser.find_elements(By.CSS_SELECTOR, "button, .button")
        next(button for button in buttons if button.text.startswith(text)).click()

    def choose(self, *files: Path) -> None:
        self.browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))

    def tiles(self) -> list[dict[str, Any] | None]:
        """Return the runs of the photos, in their order; None for one that nothing is known of."""
        return list(self.run(TILES))

    def card(self) -> str:
        return str(self.run(CARD))

    def asked(self) -> list[str]:
        """Return which addresses of the site this page has asked for, besides files and streams."""
        paths = self.run("return performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)")
        return [path for path in paths if not re.match(r"/(static|events)/|/photos/.*webp$", path)]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def status(self) -> str:
        return str(self.run("return document.getElementById('status')?.textContent"))

    def header(self) -> str:
        """Return who one is, and what else stands there; asked in one step, because pages come and go."""
        return str(self.run("return document.querySelector('header')?.textContent.replace(/\\s+/g, ' ')"))

    def toasts(self) -> list[str]:
        return list(self.run(TOASTS))

    def unread(self) -> int:
        """Return the number at the bell."""
        return int(self.run(UNREAD))

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs that the list shows, newest first."""
        return [run for run in self.run(RUNS) if run is not None]

    def newest_is(self, state: str) -> bool:
        runs = self.runs()
        return bool(runs) and runs[0]["state"] == state

    def newest(self, state: str) -> dict[str, Any]:
        """Wait until the newest run is in this state."""
        self.until(lambda: self.newest_is(state), f"not {state}")
        return self.runs()[0]

    def rung(self, task_id: str) -> list[str]:
        """Return the states in which a toast told of this task, on any page of this browser."""
        told = self.run("return localStorage.toasts ?? ''").splitlines()
        return [line.split()[1] for line in told if line.startswith(task_id)]

    def until(self, ask: Callable[[], Any], what: str, timeout: float = WAIT) -> None:
        try:
            WebDriverWait(self.browser, timeout, 0.05).until(lambda _: ask())
        except TimeoutException:
            raise AssertionError(f"{what}: {self.toasts()} {self.runs()}\n{self.demo.logs()}") from None

    def complaints(self) -> list[str]:
        """Return what stands in the console."""
        return [entry["message"] for entry in self.browser.get_log("browser")]  # type: ignore[no-untyped-call]
