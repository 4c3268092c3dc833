"""Imports point downwards only, and what is optional is imported by its own file alone.

Every import statement counts, also inside functions: a layer that is only loaded late is a layer all the same.
What is imported for type checkers only does not count, because it never happens.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import taskbell

SOURCE = Path(taskbell.__file__).parent

# The lowest first. Parts in one set stand beside each other and do not import each other.
LAYERS: Final[list[set[str]]] = [
    {"exceptions", "conf", "counts", "faults"},
    {"ground", "signals"},
    {"models"},
    {"wakeups"},
    {"store"},
    {"runs"},
    {"gateway", "engines", "inbox"},
    {"checks", "announcer"},
    {"views", "api", "middleware", "templatetags", "testing", "metrics", "admin", "receivers"},
    {"urls", "management", "jinja2"},
    {"apps"},
]
HEIGHT: Final = {part: height for height, layer in enumerate(LAYERS) for part in layer}

# What may be absent, and the only files that may need it.
OPTIONAL: Final[dict[str, set[str]]] = {
    "uvicorn": {"gateway/detach.py", "management/serving/server.py", "checks.py"},
    "httptools": {"gateway/head.py"},
    "psycopg": {"wakeups/postgres.py", "store/connection.py"},
    "redis": {"wakeups/redis.py"},
    "celery": {
        f"engines/celery/{file}.py" for file in ("__init__", "cancel", "canvas", "main_process", "results", "task")
    },
    "kombu": set(),
    "billiard": set(),
    "rq": {"engines/rq.py"},
    "dramatiq": {"engines/dramatiq.py"},
    "huey": {"engines/huey.py"},
    "jinja2": {"jinja2.py"},
    "pywebpush": {"inbox/push/send.py"},
    "py_vapid": {"inbox/push/send.py"},
    "aiohttp": {"inbox/push/send.py"},
    "yarl": {"inbox/push/send.py"},
    "requests": set(),
    "cryptography": {"inbox/push/keys.py"},
}


def sources() -> dict[str, str]:
    """Return every module's text by its path within the package."""
    return {str(path.relative_to(SOURCE)): path.read_text() for path in SOURCE.rglob("*.py")}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, `a.b.c` for `from a.b import c`."""
    skipped = {id(node) for block in ast.walk(tree) if _for_checkers(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point to"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def part_of(path: str) -> str:
    """Return the part of the package that a file belongs to."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def violations(modules: Mapping[str, str]) -> list[str]:
    """Return a sentence for every import that points upwards, sideways, or to what may be absent."""
    return [
        f"{path} imports {name}: {why}"
        for path, text in sorted(modules.items())
        for name in imported(ast.parse(text))
        if (why := _wrong(path, name))
    ]


def _wrong(path: str, name: str) -> str:
    top, *rest = name.split(".")
    if top in OPTIONAL and path not in OPTIONAL[top]:
        return f"only {', '.join(sorted(OPTIONAL[top])) or 'nobody'} may, because it may not be installed"
    # The door imports nothing itself, and history is not rewritten for the sake of layers.
    if top != "taskbell" or path == "__init__.py" or path.startswith("migrations/"):
        return ""
    here, there = part_of(path), rest[0]
    if here == there:
        return ""
    if there not in HEIGHT:
        return "the door is for projects" if there in taskbell.__all__ else "this part has no layer yet"
    if HEIGHT[there] < HEIGHT[here]:
        return ""
    return f"{here} must not know {there}"


def test_imports_point_downwards() -> None:
    assert violations(sources()) == []


def test_every_part_has_its_layer() -> None:
    parts = {part_of(path) for path in sources()} - {"__init__", "migrations"}
    assert parts <= set(HEIGHT)


def test_no_part_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "helpers.py", "common.py", "misc.py", "tools.py"}
    assert not [path for path in sources() if Path(path).name in drawers]


def test_a_permission_that_nobody_needs_is_taken_back() -> None:
    known = sources()
    needless = [
        (package, path)
        for package, paths in OPTIONAL.items()
        for path in paths & known.keys()
        if not any(name.partition(".")[0] == package for name in imported(ast.parse(known[path])))
    ]
    assert needless == []


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("ground/sse.py", "from taskbell.store.log import tail", "ground must not know store"),
        ("store/log.py", "import taskbell.gateway.hub", "store must not know gateway"),
        ("store/log.py", "def late():\n    from taskbell.views import stream", "store must not know views"),
        ("wakeups/bell.py", "from taskbell import store", "wakeups must not know store"),
        (
            "wakeups/bell.py",
            "import taskbell.store.tick",
            "wakeups must not know store",
        ),
        ("gateway/hub.py", "from taskbell.engines.celery import install", "gateway must not know engines"),
        ("gateway/hub.py", "from taskbell.inbox import fold", "gateway must not know inbox"),
        ("runs/fold.py", "try:\n    from taskbell.engines import base\nexcept ImportError: pass", "runs must not know"),
        ("conf.py", "from taskbell.ground.events import Event", "conf must not know ground"),
        ("store/tick.py", "from taskbell import publish", "the door is for projects"),
        ("store/tick.py", "from taskbell.cellar import wine", "this part has no layer yet"),
        ("gateway/app.py", "import uvicorn", "may not be installed"),
        ("gateway/server.py", "from celery import Celery", "may not be installed"),
        ("wakeups/postgres.py", "import redis.asyncio", "may not be installed"),
        ("engines/base.py", "def late():\n    import celery", "may not be installed"),
        ("engines/celery/task.py", "import kombu", "only nobody may"),
        ("runs/writer.py", "from taskbell.engines.base import probe", "runs must not know engines"),
        ("runs/read.py", "from taskbell.api import runs", "runs must not know api"),
        ("store/prune.py", "from taskbell.runs.states import ENDINGS", "store must not know runs"),
        ("engines/celery/task.py", "from taskbell.gateway.hub import Hub", "engines must not know gateway"),
        ("api.py", "from taskbell.templatetags import taskbell", "api must not know templatetags"),
    ],
)
def test_a_violation_is_caught(path: str, text: str, told: str) -> None:
    found = violations({path: text})
    assert len(found) == 1
    assert found[0].startswith(f"{path} imports ")
    assert told in found[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("store/tick.py", "from taskbell.wakeups.bell import ring_soon"),
        ("gateway/hub.py", "from taskbell.store import log\nfrom taskbell.ground import sse"),
        ("management/serving/server.py", "from taskbell.gateway.asgi import Standalone\nimport uvicorn"),
        ("engines/celery/__init__.py", "import celery\nfrom taskbell.runs import writer"),
        ("runs/writer.py", "from taskbell.store.outbox import insert\nfrom taskbell.wakeups.bell import ring_soon"),
        ("middleware.py", "from taskbell.runs.owner import in_request"),
        ("apps.py", "def ready():\n    from taskbell.engines.celery import Celery"),
        ("store/log.py", "if TYPE_CHECKING:\n    from taskbell.gateway.hub import Hub\n    import celery"),
        ("ground/sse.py", "import json\nfrom django.utils import timezone"),
    ],
)
def test_what_points_downwards_is_fine(path: str, text: str) -> None:
    assert violations({path: text}) == []


def test_relative_imports_are_refused() -> None:
    with pytest.raises(AssertionError, match="relative imports"):
        violations({"store/log.py": "from ..gateway import hub"})
