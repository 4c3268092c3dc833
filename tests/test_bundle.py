"""The bundle that is committed: made from these sources, untouched, small. And the tests that node runs."""

import re
import subprocess
from typing import Final

import pytest

from tests.js import bundle
from tests.js.node import node, node_tool

# What a page with handlers of its own needs.
MOST_OF_CLIENT: Final = 8 * 1024
# With four elements, their styles and words in two languages: still what a browser reads in its first round trips, and
# less than a small picture. All of it is cached with the first page.
MOST_BYTES: Final = 20 * 1024
STALE: Final = "The bundle is stale: run `make js` and commit src/taskbell/static/taskbell/taskbell.js."


@pytest.fixture(scope="module")
def content() -> bytes:
    return bundle.BUNDLE.read_bytes()


def header(content: bytes) -> tuple[bytes, bytes]:
    found = bundle.HEADER.match(content)
    assert found is not None, STALE
    return found[1], found[2]


def test_it_is_made_from_these_sources(content: bytes) -> None:
    assert header(content)[0] == bundle.fingerprint(*bundle.sources()), STALE


def test_nobody_has_edited_it(content: bytes) -> None:
    assert header(content)[1] == bundle.fingerprint(bundle.HEADER.sub(b"", content, count=1)), STALE


def test_the_script_of_the_admin_is_made_from_its_sources_and_untouched() -> None:
    content = bundle.ADMIN.read_bytes()
    found = bundle.ADMIN_HEADER.match(content)
    assert found is not None, STALE
    assert found[1] == bundle.fingerprint(*bundle.ADMIN_SOURCES, *bundle.BUILD), STALE
    assert found[2] == bundle.fingerprint(bundle.ADMIN_HEADER.sub(b"", content, count=1)), STALE


def test_the_worker_is_made_from_its_sources_and_untouched() -> None:
    content = bundle.WORKER.read_bytes()
    found = bundle.WORKER_HEADER.match(content)
    assert found is not None, STALE
    assert found[1] == bundle.fingerprint(*bundle.WORKER_SOURCES, *bundle.BUILD), STALE
    assert found[2] == bundle.fingerprint(bundle.WORKER_HEADER.sub(b"", content, count=1)), STALE
    # It is no module, so that every browser with Web Push takes it.
    assert re.search(rb"\b(import|export)\b", content) is None


def test_it_is_small(content: bytes) -> None:
    assert bundle.compressed(content) < MOST_BYTES
    found = bundle.HEADER.match(content)
    assert found is not None, STALE
    assert int(found[3]) < MOST_OF_CLIENT


def test_it_loads_nothing_else(content: bytes) -> None:
    # Django's manifest storage rewrites no import of a module.
    assert re.search(rb"\bimport\b", content) is None


@pytest.mark.parametrize(
    "sink", [b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write", b"eval(", b"Function("]
)
def test_it_makes_no_markup_or_code_from_text(content: bytes, sink: bytes) -> None:
    assert sink not in content


def run(*argv: str) -> None:
    ended = subprocess.run(argv, cwd=bundle.ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr


def test_the_parts_pass_their_own_tests() -> None:
    files = sorted(str(path) for path in (bundle.ROOT / "tests/js").glob("*.test.js"))
    assert files
    run(node(), "--test", *files)


def test_the_types_hold() -> None:
    run(node_tool("tsc"), "--project", str(bundle.SOURCES))


def test_it_can_be_made_again(content: bytes) -> None:
    node_tool("esbuild")
    assert bundle.build() == content, STALE
    assert bundle.build_worker() == bundle.WORKER.read_bytes(), STALE


def test_a_change_of_any_source_shows() -> None:
    files = bundle.sources()
    assert len(files) > 15
    whole = bundle.fingerprint(*files)
    for path in files:
        others = [file for file in files if file != path]
        assert bundle.fingerprint(*others) != whole
        assert bundle.fingerprint(*[file if file != path else b"changed" for file in files]) != whole
