"""The pages of the documentation, taken apart: fenced examples, links, tables.

What stands after an example's language says what becomes of it. A page shows only the language.

    ```python                       executed, with the examples before it
    ```python settings              a settings file, checked
    ```python file=PATH             the whole of a file in a project; append=PATH its end
    ```shell                        its commands must exist; `run` or `serve`: really run by tests/test_quickstart.py
    ```text console                 what the page's console says then
    ```sse                          frames
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A fenced block. `words` are what stands after its language."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    def value(self, name: str) -> str:
        """Return what stands after `name=`."""
        found = [word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")]
        return found[0] if found else ""

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def examples(page: Path, language: str = "", *, word: str = "") -> list[Example]:
    """Return a page's examples in their order, only those in a language or with a word if it is given."""
    found = list(_examples(page, page.read_text()))
    return [one for one in found if language in ("", one.language) and (not word or word in one.words)]


def all_examples(language: str, *, word: str = "") -> list[Example]:
    return [example for page in PAGES for example in examples(page, language, word=word)]


def story(page: Path) -> Iterator[Example | str]:
    """Yield a page as it is read: prose, example, prose …"""
    text, place = page.read_text(), 0
    for found, example in zip(_FENCE.finditer(text), _examples(page, text), strict=True):
        yield text[place : found.start()]
        yield example
        place = found.end()
    yield text[place:]


def prose(page: Path) -> str:
    """Return a page without its examples."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return what a link to this page may name after its `#`."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}


def rows(page: Path, heading: str = "") -> list[list[str]]:
    """Return the cells of all table rows of a page, or of those under one heading."""
    text = prose(page)
    if heading:
        text = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def _examples(page: Path, text: str) -> Iterator[Example]:
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Example(page, line, found[1], tuple(found[2].split()), found[3])
