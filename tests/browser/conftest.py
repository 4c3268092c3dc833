"""A site and a browser that is signed in to it; whatever the console says against us fails the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.browser.site import Site
from tests.servers.project import Project


@pytest.fixture
def site(project: Callable[[str], Project], browser: Chrome, tmp_path: Path) -> Iterator[Site]:
    site = Site(project("sqlite"), browser, tmp_path)
    site.sign_in()
    yield site
    assert site.problems() == []
    # The gateway goes after the page, or its end would be logged there.
    browser.get("about:blank")
