"""The page about endings and the tests that hold it name the same."""

import re

from tests.engines import test_eager, test_endings, test_endings_killed, test_endings_steps, test_publish
from tests.servers.project import ROOT

PAGE = ROOT / "docs/explain/endings.md"
ROWS = range(1, 41)
HOMES = (
    test_endings_killed, test_endings_steps, test_publish, test_eager.TestEager, test_publish.TestTrouble,
)  # fmt: skip


def page() -> dict[int, set[str]]:
    """Return the tests that the page names, by row."""
    lines = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)
    return {int(number): set(re.findall(r"`([^`]+)`", held_by)) for number, held_by in lines}


def held() -> set[str]:
    functions = {name for home in HOMES for name in vars(home) if name.startswith("test_row_")}
    return functions | {row.name for row in test_endings.ROWS}


def test_every_row_is_on_the_page() -> None:
    assert list(page()) == list(ROWS)


def test_page_and_tests_name_the_same() -> None:
    named = page()
    assert set().union(*named.values()) == held()
    for row, names in named.items():
        assert all(f"{row:02}" in re.findall(r"\d\d", name) for name in names)
