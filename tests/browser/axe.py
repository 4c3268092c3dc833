"""axe-core's opinion of a page, from the script that the package axe-playwright-python carries."""

from importlib.util import find_spec
from pathlib import Path

from selenium.webdriver import Chrome

# What is wrong, and where; a shadow root's element is named by the path to it.
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"], rules: {"color-contrast": {enabled: true}}}).then(
  ({violations}) => done(violations.flatMap(({id, help, nodes}) =>
    nodes.map(({target, failureSummary}) => `${id}: ${help}\\n  ${target.flat(9).join(" > ")}\\n  ${failureSummary}`))),
  (error) => done([String(error)]),
)
"""


def violations(browser: Chrome) -> list[str]:
    """Return what axe finds wrong with the page as it is now, everything in words."""
    if not browser.execute_script("return 'axe' in window"):
        # DevTools' own door: the page's policy lets no script in, and stays as it is.
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": _script()})
    found: list[str] = browser.execute_async_script(RUN)
    return found


def _script() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text()
