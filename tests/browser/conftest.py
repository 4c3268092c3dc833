"""A site and a browser that is signed in to it; whatever the console says against us fails the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.browser.site import Site
from tests.servers.project import Project


@pytest.fixture
def keys() -> dict[str, Any]:
    """What a module's site sets of `TASKBELL`."""
    return {}


@pytest.fixture
def site(project: Callable[[str], Project], browser: Chrome, tmp_path: Path, keys: dict[str, Any]) -> Iterator[Site]:
    one = project("sqlite")
    one.configure(**keys)
    site = Site(one, browser, tmp_path)
    site.sign_in()
    yield site
    assert site.problems() == []
    # The gateway goes after the page, or its end would be logged there.
    browser.get("about:blank")
