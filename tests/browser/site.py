"""A site with our elements on its pages, and the browser of one person."""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import User
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.shadowroot import ShadowRoot
from selenium.webdriver.support.wait import WebDriverWait

from taskbell import notify
from taskbell.models import Outbox
from taskbell.runs.facts import to_row
from taskbell.runs.states import Fact, Identity, Kind
from taskbell.store.outbox import insert, key_of
from tests.servers.project import Gateway, Project

WAIT: Final = 15
# What Chromium itself says of a server that is away, or of a request that was ended by leaving the page.
NETWORK: Final = ("net::ERR_", "502", "503")


TEXTS: Final = """
return [...(document.querySelector(arguments[0])?.shadowRoot.querySelectorAll(`[part~=${arguments[1]}]`) ?? [])]
  .filter((part) => part.checkVisibility()).map(({innerText}) => innerText.trim().replace(/\\n+/g, "\\n"))
"""

BLANK: Final[dict[str, Any]] = {
    "name": "photos.tasks.resize",
    "label": "Resizing photo",
    "was": "queued",
    "late": False,
    "cancelling": False,
    "attempt": 1,
    "done": None,
    "total": None,
    "message": None,
    "result": None,
    "error": None,
    "parent": None,
    "queued_at": "2026-01-01T00:00:00.000Z",
    "started_at": None,
    "finished_at": None,
    "next_attempt_at": None,
    "at": "2026-01-01T00:00:01.000Z",
}


class Site:
    """A project in its gateway, and one person's browser."""

    host = "127.0.0.1"

    def __init__(self, project: Project, browser: Chrome, folder: Path) -> None:
        self.project = project
        self.browser = browser
        self.folder = folder
        project.env["DJANGO_SETTINGS_MODULE"] = "tests.browser.settings"
        self.gateway: Gateway = project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol")
        # As the browser sees it: what stands before the gateway has another port.
        self.port = self.gateway.port
        self.ann = project.person("ann")

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def sign_in(self, name: str = "ann") -> None:
        name, value = self.project.sign_in(self.project.person(name)).split("=", 1)
        self.browser.get(f"{self.origin}/page/")
        self.browser.add_cookie({"name": name, "value": value, "httpOnly": True})

    def open(self, query: str = "") -> None:
        self.browser.get(f"{self.origin}/page/?{query}")

    def restart(self) -> None:
        port = self.gateway.port
        self.gateway.stop()
        self.gateway = self.project.uvicorn("--http", "taskbell.gateway.server:StreamProtocol", port=port)

    def tell(self, run: str, state: str, **fields: Any) -> str:
        """Publish what happened to a run, as its fold would."""
        payload = {**BLANK, "id": run, "task_id": f"task-{run}", "state": state, **fields}
        row = {"kind": "event", "type": "run", "user_key": key_of(self.ann), "payload": json.dumps(payload)}
        insert([Outbox(**row)])
        return run

    def fact(self, kind: Kind, run: str, owner: User | None = None, **fields: Any) -> str:
        """Let an engine see something of a run, ann's or its owner's; the tick folds it. Return the task's id."""
        identity = Identity(
            run=run,
            task_id=f"task-{run}",
            engine="test",
            name="photos.tasks.resize",
            label="Resizing photo",
            user_key=key_of(owner or self.ann),
            queued_at=time.time(),
        )
        insert([to_row(Fact(identity=identity, kind=kind, at=time.time(), execution="1", **fields))])
        return identity.task_id

    def notify(self, title: str, **fields: Any) -> None:
        """Leave a notification in the inbox of the one person."""
        notify(self.ann, title, **fields)

    def publish(self, type: str, payload: Any, channel: str | None = None) -> None:
        who = {"channel": channel} if channel else {"user_key": key_of(self.ann)}
        insert([Outbox(kind="event", type=type, payload=json.dumps(payload), **who)])

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def until(self, ask: Callable[[], Any], what: str) -> Any:
        try:
            return WebDriverWait(self.browser, WAIT, 0.05).until(lambda _: ask())
        except TimeoutException:
            raise AssertionError(f"{what}\n{self.logged()}\n{self.gateway.output()[-3000:]}") from None

    def until_live(self) -> None:
        self.until(lambda: self.run("return window.taskbell?.status === 'live'"), "the stream is not live")

    def shadow(self, selector: str) -> ShadowRoot:
        return self.browser.find_element(By.CSS_SELECTOR, selector).shadow_root

    def texts(self, selector: str, part: str) -> list[str]:
        """Return what is in sight of a part, read at one moment: what is live may go between two questions."""
        found: list[str] = self.run(TEXTS, selector, part)
        return found

    def toasts(self) -> list[str]:
        return [text.replace("\n✕", "") for text in self.texts("taskbell-toasts", "toast")]

    def logged(self) -> list[str]:
        """Return what the console has shown since it was asked last."""
        entries = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def problems(self) -> list[str]:
        return [message for message in self.logged() if not any(known in message for known in NETWORK)]

    def picture(self, name: str) -> None:
        """Keep what is seen, for the eyes of whoever changed it: `pytest --basetemp=…`."""
        self.browser.save_screenshot(str(self.folder / f"{name}.png"))


def new_run() -> str:
    return str(uuid.uuid4())
