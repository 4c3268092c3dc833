"""Takes the pictures of the documentation anew: `.venv/bin/python -m demo.pictures`, after `make install browser`.

They show the real demo at work, in a browser with an empty profile. Look at them before they are committed.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.demo.running import Demo
from tests.servers.browser import chromium

FOLDER: Final = Path(__file__).parents[1] / "docs" / "pictures"
WAIT: Final = 40
# Sharp on dense screens, and still a small file.
SCALE: Final = 1.5
WIDE: Final = (1200, 790)
NARROW: Final = (400, 820)

TOASTS: Final = """
    return [...document.querySelector("taskbell-toasts").shadowRoot.querySelectorAll("[part=title]")]
        .map(title => title.textContent);
"""
DISMISS: Final = """
    document.querySelector("taskbell-toasts").shadowRoot.querySelectorAll("button").forEach(button => button.click());
"""
OPEN_RUNS: Final = """
    return [...document.querySelectorAll("taskbell-run")]
        .filter(({ run }) => ["queued", "running", "retrying"].includes(run?.state)).length;
"""
PICTURES: Final = """
    return [...document.querySelectorAll("#gallery img")].filter(image => image.complete).length;
"""


class Photographer:
    """Presses the buttons and takes the pictures."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser = browser
        self.address = address

    def open(self, size: tuple[int, int], scheme: str) -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": SCALE, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.browser.get(self.address)
        self.until(lambda: self.browser.find_element(By.ID, "status").text == "Live")

    def press(self, text: str) -> None:
        buttons = self.browser.find_elements(By.CSS_SELECTOR, "button, .button")
        next(button for button in buttons if button.text.startswith(text)).click()

    def told(self, title: str) -> None:
        """Wait for a toast."""
        self.until(lambda: title in self.browser.execute_script(TOASTS))

    def tidy(self) -> None:
        """Wait until nothing runs any more, and wipe away what was told."""
        self.until(lambda: self.browser.execute_script(OPEN_RUNS) == 0)
        self.browser.execute_script(DISMISS)

    def pause(self, milliseconds: int) -> None:
        self.browser.execute_async_script("setTimeout(arguments[1], arguments[0])", milliseconds)

    def until(self, ask: Callable[[], object]) -> None:
        WebDriverWait(self.browser, WAIT, 0.02).until(lambda _: ask())

    def take(self, name: str) -> None:
        # The pointer would leave a button in another colour, and a toast is still rising.
        self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 1, "y": 1})
        self.browser.execute_script("document.activeElement.blur()")
        self.pause(350)
        FOLDER.mkdir(parents=True, exist_ok=True)
        image = Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB")
        path = FOLDER / f"{name}.webp"
        image.save(path, quality=92, method=6)
        print(path.relative_to(FOLDER.parents[1]), *image.size, f"{path.stat().st_size // 1024} KB")


def at_work(photographer: Photographer, size: tuple[int, int], scheme: str, name: str) -> None:
    """Pictures there, one task just finished, the next one in the middle."""
    photographer.open(size, scheme)
    photographer.until(lambda: photographer.browser.execute_script(PICTURES) == 36)
    photographer.press("Run a task")
    photographer.pause(2200)
    photographer.press("Use six")
    photographer.told("Task finished")
    photographer.take(name)
    photographer.tidy()


def lost(photographer: Photographer, name: str) -> None:
    """A worker was killed, and its person is told."""
    photographer.open(WIDE, "light")
    photographer.press("Kill the worker")
    photographer.told("Task lost")
    photographer.take(name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        demo = Demo(Path(folder)).ready()
        try:
            photographer = Photographer(browser, f"{demo.address}/")
            photographer.open(WIDE, "light")
            photographer.press("Use six")
            photographer.told("Photos finished")
            photographer.tidy()
            at_work(photographer, WIDE, "light", "demo")
            at_work(photographer, WIDE, "dark", "demo-dark")
            at_work(photographer, NARROW, "light", "demo-phone")
            lost(photographer, "demo-lost")
            browser.get("about:blank")
        finally:
            demo.stop()


if __name__ == "__main__":
    main()
