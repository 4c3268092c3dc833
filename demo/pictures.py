"""Takes the pictures of the documentation anew: `.venv/bin/python -m demo.pictures [demo-inbox …]`.

They show the real demo at work, in a browser with an empty profile (`make install browser`), and are drawn with the
fonts of the machine; those that are committed, with Inter. Look at them before they are committed.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.demo.running import Demo
from tests.servers.browser import chromium

FOLDER: Final = Path(__file__).parents[1] / "docs" / "pictures"
WAIT: Final = 60
# Sharp on dense screens, and still a small file.
SCALE: Final = 1.5
QUALITY: Final = 76
WIDE: Final = (1200, 980)
NARROW: Final = (400, 820)

TOASTS: Final = """
    return [...document.querySelector("taskbell-toasts").shadowRoot.querySelectorAll("[part=title]")]
        .map(title => title.textContent);
"""
DISMISS: Final = """
    const shadow = document.querySelector("taskbell-toasts").shadowRoot;
    shadow.querySelectorAll("[part=dismiss]").forEach(button => button.click());
"""
OPEN_RUNS: Final = """
    return [...document.querySelectorAll("taskbell-run")]
        .filter(({ run }) => ["queued", "running", "retrying"].includes(run?.state)).length;
"""
FINISHED: Final = """
    return [...document.querySelectorAll("#photos > li")].filter(tile => tile.querySelector("img")).length;
"""
LOADING: Final = "return [...document.images].filter(image => !image.complete).length;"


class Photographer:
    """Presses the buttons and takes the pictures."""

    def __init__(self, browser: Chrome, demo: Demo) -> None:
        self.browser = browser
        self.address = f"{demo.address}/"
        self.worker = [process for process in demo.family() if "celery" in process.cmdline()]

    def open(self, size: tuple[int, int], scheme: str) -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": SCALE, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.browser.get(self.address)
        self.until(lambda: self.browser.find_element(By.ID, "status").text == "Live")

    def press(self, id: str) -> None:
        self.browser.find_element(By.ID, id).click()

    def told(self, title: str) -> None:
        """Wait for a toast."""
        self.until(lambda: title in self.browser.execute_script(TOASTS))

    def in_the_middle(self) -> None:
        """Wait until a new album has its first pictures."""
        self.until(lambda: self.browser.execute_script(FINISHED) == 0)
        self.until(lambda: self.browser.execute_script(FINISHED) >= 2)

    def tidy(self) -> None:
        """Wait until nothing runs any more, and wipe away what was told."""
        self.until(lambda: self.browser.execute_script(OPEN_RUNS) == 0)
        self.browser.execute_script(DISMISS)

    def pause(self, milliseconds: int) -> None:
        self.browser.execute_async_script("setTimeout(arguments[1], arguments[0])", milliseconds)

    def until(self, ask: Callable[[], object]) -> None:
        WebDriverWait(self.browser, WAIT, 0.02).until(lambda _: ask())

    def hold(self, name: str) -> None:
        """Take a picture of work that stands still meanwhile, however slow the machine is."""
        for process in self.worker:
            process.suspend()
        try:
            self.take(name)
        finally:
            for process in self.worker:
                process.resume()

    def take(self, name: str) -> None:
        # The pointer would leave a button in another colour; toasts still rise, and pictures appear.
        self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 1, "y": 1})
        self.browser.execute_script("scrollTo(0, 0)")
        self.until(lambda: self.browser.execute_script(LOADING) == 0)
        self.pause(700)
        FOLDER.mkdir(parents=True, exist_ok=True)
        image = Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB")
        path = FOLDER / f"{name}.webp"
        image.save(path, quality=QUALITY, method=6)
        print(path.relative_to(FOLDER.parents[1]), *image.size, f"{path.stat().st_size // 1024} KB")


def at_work(size: tuple[int, int], scheme: str, photographer: Photographer, name: str) -> None:
    """An import has failed, a delivery is tried again, and of six photos two or three are done."""
    photographer.open(size, scheme)
    photographer.press("fail")
    photographer.told("Import failed")
    photographer.press("retry")
    photographer.pause(700)
    photographer.press("samples")
    photographer.in_the_middle()
    photographer.hold(name)
    photographer.tidy()


def inbox(photographer: Photographer, name: str) -> None:
    """Two reports became ready while no page was open, and stand at the bell."""
    photographer.open(WIDE, "light")
    for reports in (1, 2):
        photographer.press("report")
        photographer.until(lambda: photographer.browser.execute_script(OPEN_RUNS) == reports)  # noqa: B023
    photographer.browser.get("about:blank")
    photographer.pause(14_000)
    photographer.open(WIDE, "light")
    photographer.tidy()
    bell = photographer.browser.find_element(By.TAG_NAME, "taskbell-inbox").shadow_root
    bell.find_element(By.CSS_SELECTOR, "[part=bell]").click()
    photographer.take(name)


def lost(photographer: Photographer, name: str) -> None:
    """A worker was killed, and its person is told."""
    photographer.open(WIDE, "light")
    photographer.press("kill")
    photographer.told("Task lost")
    photographer.take(name)
    photographer.tidy()


PICTURES: Final[dict[str, Callable[[Photographer, str], None]]] = {
    "demo": partial(at_work, WIDE, "light"),
    "demo-dark": partial(at_work, WIDE, "dark"),
    "demo-phone": partial(at_work, NARROW, "light"),
    "demo-lost": lost,
    "demo-inbox": inbox,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        demo = Demo(Path(folder)).ready()
        try:
            photographer = Photographer(browser, demo)
            photographer.open(WIDE, "light")
            photographer.press("samples")
            photographer.told("6 photos finished")
            photographer.tidy()
            for name in sys.argv[1:] or PICTURES:
                PICTURES[name](photographer, name)
            browser.get("about:blank")
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
