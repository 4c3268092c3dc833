"""Chromium, as Debian packages it, driven by its chromedriver."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.servers.process import Unavailable

# The first rule gives a name to this machine that Chromium does not trust as it does 127.0.0.1. Without the last five,
# it asks its maker's servers for this and that at every start.
ARGUMENTS = [
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
]


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"Browser: no {program} on PATH; Debian has it in chromium and chromium-driver")
    return path


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A new browser with an empty profile; it is gone afterwards."""
    options = ChromeOptions()
    options.binary_location = _find("chromium")
    # Chromium's sandbox refuses to run as root.
    for argument in [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]:
        options.add_argument(argument)
    # Named here, because selenium's own search for a driver downloads one.
    browser = Chrome(options=options, service=ChromeService(_find("chromedriver")))
    browser.set_script_timeout(30)
    try:
        yield browser
    finally:
        browser.quit()
