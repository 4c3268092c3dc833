"""What the pages say is true: examples run, tables repeat the code, links lead somewhere."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from django.conf import global_settings
from django.contrib.auth.models import User
from django.core import checks
from django.core.checks.registry import registry
from django.core.management import get_commands
from django.db.utils import ConnectionHandler
from django.test import RequestFactory, override_settings

import taskbell
from docs.generate import renewed
from taskbell import conf, exceptions
from taskbell.api.runs import DEFAULT_LIMIT
from taskbell.checks import TAG
from taskbell.gateway import request
from taskbell.gateway.files import BESIDE_STREAMS
from taskbell.ground import cursor, events, sse
from taskbell.inbox.push.config import KEYS as PUSH_KEYS
from taskbell.management.commands.taskbell import VERBS, Command
from taskbell.models import MESSAGE_LENGTH
from taskbell.runs.failure import ERROR_LENGTH
from taskbell.runs.here import RESULT_BYTES
from taskbell.runs.read import MOST_RUNS
from taskbell.runs.rows import to_json
from taskbell.runs.states import ENDINGS, Identity, Run, State
from taskbell.store import folds, loops
from taskbell.store.outbox import BATCH_ROWS
from taskbell.templatetags import taskbell as tags
from tests.markdown import PAGES, ROOT, Example, all_examples, anchors, code, examples, links, name_of, prose, rows
from tests.servers.sse import Parser

SOURCE = ROOT / "src" / "taskbell"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

PROMISES = {
    "1": "**Committed means delivered, or you are told.** If the transaction that published an event committed, every "
    "authorised client that is connected, or comes back with its last position within the retention time (default 24 "
    "hours), receives it. If it rolled back, nobody does. Progress may be replaced by newer progress.",
    "2": "**No silent gaps.** If we cannot replay everything, the client gets a `reset` before any later event.",
    "3": "**Order within a channel.** Events of one channel arrive in log order; committed-before-published comes "
    "first.",
    "4": "**At least once on the wire, at most once in your handler** on one page.",
    "5": "**Only to those who may see it**, checked at connect, before replay, and at least every 60 seconds.",
    "6": "**Your transactions stay yours.** Publishing is one INSERT: no lock but its own row's (on SQLite all writers "
    "share one lock, ours included), no NOTIFY, no broker.",
    "7": "**Wakeups only make it faster.**",
    "8": "**Bounded.** A slow client costs at most its buffer, and resumes where it stopped.",
    "9": "**Every run that started ends**; a killed worker is told to its person within the lease time plus five "
    "seconds (default 35). A run that does not start in time is called late.",
}
NOT_PROMISED = (
    "Not promised: exactly-once to a human eye; order between channels; Web Push arrival; anything after the retention "
    "time but the `reset`."
)

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Pages


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_is_shown_with_words_for_who_does_not_see_it() -> None:
    shown = set()
    for page in PAGES:
        text = page.read_text()
        for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text) + re.findall(
            r'<img alt="([^"]*)" src="([^"]+)">', text
        ):
            assert len(alt) > 10, path
            shown.add((page.parent / path).resolve())
        shown |= {(page.parent / path).resolve() for path in re.findall(r'<source [^>]*srcset="([^"]+)">', text)}
    assert shown == set((DOCS / "pictures").iterdir())


def test_the_index_names_every_page() -> None:
    listed = {(DOCS / link).resolve() for link in links(DOCS / "README.md")}
    assert set(DOCS.glob("**/*.md")) - {DOCS / "README.md"} <= listed


@each_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {*conf.DEFAULTS, *PUSH_KEYS, *dir(global_settings), "ROOT_URLCONF", "TCP_USER_TIMEOUT"}
    assert {word for word in code(prose(page)) if re.fullmatch(r"[A-Z]+_[A-Z_]+", word)} <= known


@each_page
def test_defaults_in_sentences_are_the_real_ones(page: Path) -> None:
    """`PING` (20) is how a page repeats a default."""
    for key, value in re.findall(r"`([A-Z_]+)`\s+\(([\d,]+)\)", prose(page)):
        assert conf.DEFAULTS[key] == int(value.replace(",", "")), key


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=name_of)
def test_generated_parts_are_fresh(page: Path) -> None:
    text = page.read_text()
    assert renewed(text) == text, "run: .venv/bin/python docs/generate.py"


# README, CONTRIBUTING, CHANGELOG


def test_the_promises_are_word_for_word() -> None:
    page = ROOT / "README.md"
    assert {number: promise for number, promise, _ in rows(page, "What we promise")[1:]} == PROMISES
    assert NOT_PROMISED in page.read_text()


def test_the_transcript_says_what_the_demo_says() -> None:
    [shown] = [one.text for one in examples(ROOT / "README.md", "text") if "make try" in one.text]
    hint = "Type a line and press Enter; Ctrl-D ends. Kill the gateway with kill -9 and go on typing."
    assert hint in shown
    assert hint in (ROOT / "demo" / "line.py").read_text()
    parsed = Parser().feed(shown.partition("hello\n")[2].encode())
    assert [event.type for event in parsed] == ["line"]


def test_the_map_names_every_module_and_no_other() -> None:
    cells = [first for first, _ in rows(ROOT / "CONTRIBUTING.md", "A map of the code")]
    modules = [*SOURCE.glob("**/*.py"), *SOURCE.glob("js/**/*.js")]
    assert set(_paths(cells)) == {str(path.relative_to(SOURCE)) for path in modules if path.stat().st_size}


def _paths(cells: list[str]) -> Iterator[str]:
    """Yield the files of the map; those after the first in a cell stand in the same folder."""
    for cell in cells:
        folder = ""
        for word in code(cell):
            path = f"{folder}{word}"
            folder = path[: path.rindex("/") + 1] if "/" in path else ""
            yield path


def test_the_path_through_the_code_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:ground|store|runs|inbox|engines|wakeups|gateway)/\w+\.py)`", text)
    assert all((SOURCE / path).is_file() for path in named)


def test_the_changelog_names_what_there_is() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    for name in [*taskbell.__all__, *VERBS]:
        assert re.search(rf"`[^`]*{name}[^`]*`", text), name


# Reference


def test_every_public_name_is_documented() -> None:
    text = (REFERENCE / "python.md").read_text()
    assert set(re.findall(r"^## (\w+)\(", text, re.MULTILINE)) == set(taskbell.__all__)


def test_every_exception_is_documented() -> None:
    documented = {code(first)[0] for first, _ in rows(REFERENCE / "python.md", "Exceptions")[1:]}
    assert documented == {name for name, value in vars(exceptions).items() if isinstance(value, type)}


def test_what_may_be_published_is_documented() -> None:
    text = prose(REFERENCE / "python.md")
    reserved = text.partition("**Types** that cannot be published")[2].partition(".")[0]
    assert set(code(reserved)) == events.RESERVED_TYPES
    assert f"{events.CHANNEL_LENGTH} characters at most" in text
    assert f"{events.PAYLOAD_BYTES // 1024} KiB" in text
    assert f"{BATCH_ROWS} rows go into one" in text


def test_every_check_is_documented() -> None:
    source = (SOURCE / "checks.py").read_text()
    table = {code(first)[0]: (says, advice) for first, says, advice in rows(REFERENCE / "checks.md")[1:]}
    assert set(table) == set(re.findall(r"taskbell\.[EW]\d{3}", source))
    written = source.replace("{{", "{").replace("}}", "}")
    deployed = "".join(
        check.__doc__ or "" for check in registry.deployment_checks if check.__module__ == TAG + ".checks"
    )
    for id, (says, advice) in table.items():
        assert ("`--deploy`" in says) == (id.partition(".")[2] in deployed), id
        assert [snippet for snippet in code(advice) if snippet not in written] == [], id


def test_runs_as_json_are_documented() -> None:
    page = REFERENCE / "http-api.md"
    identity = Identity(run="", task_id="", engine="", name="", label="", user_key="", queued_at=0)
    table = rows(page, "A run")
    state = next(index for index, (first, *_) in enumerate(table) if first == "state")
    fields = [name for first, *_ in table[1:state] for name in code(first)]
    assert fields == list(to_json(Run(identity=identity), was=None, at=0))
    shown = [event for example in all_examples("sse") for event in Parser().feed(example.text.encode())]
    assert [list(json.loads(event.data)) for event in shown if event.type == "run"] == [fields]
    states = [code(first)[0] for first, *_ in table[state + 1 :]]
    assert states == list(get_args(State))
    assert "The last six are endings." in prose(page)
    assert set(states[-6:]) == ENDINGS


def test_the_api_is_documented() -> None:
    page = REFERENCE / "http-api.md"
    statuses = {int(first) for first, *_ in rows(page) if first.isdecimal()}
    source = "".join(file.read_text() for file in SOURCE.glob("api/*.py"))
    sent = map(int, re.findall(r"(?:status=|error\()(\d{3})", source))
    assert statuses == {200, 403, 405, *sent}  # Django itself says 403 and 405
    assert f"1 to {MOST_RUNS}, else {DEFAULT_LIMIT}" in prose(page)


def test_every_tag_is_documented() -> None:
    text = prose(REFERENCE / "python.md")
    assert set(re.findall(r"{% (taskbell_\w+)", text)) == set(tags.register.tags)


def test_bounds_of_what_tasks_tell_are_documented() -> None:
    text = prose(REFERENCE / "python.md")
    assert f"({MESSAGE_LENGTH} characters)" in text
    assert f"{RESULT_BYTES // 1024} KiB at most" in text
    assert f"up to {ERROR_LENGTH:,} characters" in text


def test_the_wire_is_documented() -> None:
    page = REFERENCE / "wire.md"
    assert _firsts(page, "Frames", after="reset") == set(get_args(sse.ResetReason))
    assert _firsts(page, "Frames", after="bye") == set(get_args(sse.ByeReason))
    statuses = {int(status) for first, *_ in rows(page, "Answers") for status in re.findall(r"\d{3}", first)}
    files = [*SOURCE.glob("gateway/*.py"), SOURCE / "views.py"]
    source = "\n".join(file.read_text() for file in files)
    sent = re.findall(
        r"(?:Rejected\(|_refuse_head[(, ]+|_answer\(|(?:UNAUTHORIZED|NOT_FOUND): Final = )([2-5]\d\d)\b", source
    )
    assert statuses == {200, *map(int, sent)}


def _firsts(page: Path, heading: str, after: str) -> set[str]:
    """Return the first cells of the table whose head begins with a word."""
    names = [first for first, *_ in rows(page, heading)]
    start = names.index(after) + 1
    ends = [index for index, name in enumerate(names) if index >= start and not name.startswith("`")]
    return {code(name)[0] for name in names[start : min(ends, default=len(names))]}


@pytest.mark.parametrize("example", all_examples("sse"), ids=str)
def test_frames_are_what_the_gateway_writes(example: Example) -> None:
    written = sse.OPENING.decode()
    for event in Parser().feed(example.text.encode()):
        assert json.loads(event.data) is not None
        written += sse.frame(cursor.Cursor.parse(event.id), event.type, event.data).decode()
    assert example.text == written


def test_the_cursor_of_a_request_is_where_the_page_says() -> None:
    assert "Last-Event-ID".lower().encode() == request.LAST_EVENT_ID


# Examples


@pytest.mark.django_db
@each_page
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "_folds", dict(folds._folds))
    monkeypatch.setattr(loops, "_loops", dict(loops._loops))
    user = User.objects.create(username="yamkant")
    asked = RequestFactory().get("/")
    asked.user = user
    names: dict[str, Any] = {"user": user, "request": asked, "__name__": "example"}
    for example in examples(page, "python"):
        if example.value("file") or example.value("append"):
            compile(example.text, str(example), "exec")
        elif "settings" not in example.words:
            exec(compile(example.text, str(example), "exec"), names)
    for value in names.values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "example":
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
            assert result.testsRun, page
            assert result.errors + result.failures == []


@pytest.mark.parametrize("example", all_examples("python", word="settings"), ids=str)
def test_settings_pass_the_checks(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mysite", "mysite.access", "mysite.tokens"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    # What the settings name may stand on any page: the reference names a hook that a how-to shows.
    for file in all_examples("python"):
        if path := file.value("file"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(file.text)
    monkeypatch.syspath_prepend(tmp_path)
    written: dict[str, Any] = {}
    exec(compile(example.text, str(example), "exec"), written)
    values = {name: value for name, value in written.items() if name.isupper()}
    assert values
    assert set(values) - {conf.NAME} <= set(dir(global_settings))
    for database in ConnectionHandler(values.pop("DATABASES", None)).all():
        options = database.settings_dict["OPTIONS"]
        assert database.vendor != "sqlite" or options["transaction_mode"] == "IMMEDIATE"
    with override_settings(**values):
        assert [message for message in checks.run_checks(tags=[TAG]) if message.is_serious()] == []


@pytest.mark.parametrize("example", all_examples("shell"), ids=str)
def test_commands_exist(example: Example) -> None:
    subprocess.run(["bash", "-n"], input=example.text, text=True, check=True)
    for line in example.text.splitlines():
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:
            words.pop(0)
        if words[:1] == ["make"]:
            _check_make(words[1:])
        elif "manage.py" in words:
            _check_manage(words[words.index("manage.py") + 1 :])
        elif words[:2] == ["pip", "install"]:
            _check_install(words[2])


def _check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), words


def _check_manage(words: list[str]) -> None:
    # The one of django.contrib.staticfiles, which the tests' own project has no use for.
    assert words[0] in {*get_commands(), "collectstatic"}
    if words[0] == "taskbell":
        Command().create_parser("manage.py", "taskbell").parse_args(words[1:])


def _check_install(what: str) -> None:
    extras = re.fullmatch(r"\./taskbell\[([\w,]+)\]", what)
    assert extras, what
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= set(known)


@pytest.mark.parametrize("example", all_examples("js"), ids=str)
def test_scripts_can_be_read(example: Example, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node on PATH; tests/test_quickstart.py runs the ones that matter in Chromium")
    script = tmp_path / "example.js"
    script.write_text(example.text)
    subprocess.run(["node", "--check", script], check=True)


def test_the_unit_fits_the_settings() -> None:
    [example] = all_examples("ini")
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(example.text)
    service = unit["Service"]
    files = conf.DEFAULTS["STREAMS_PER_PROCESS"] + BESIDE_STREAMS
    assert int(service["LimitNOFILE"]) == files
    assert int(service["TimeoutStopSec"]) > conf.DEFAULTS["DRAIN"]
    assert f"LimitNOFILE={files}" in (ROOT / "README.md").read_text()
    words = shlex.split(service["ExecStart"])
    _check_manage(words[words.index("manage.py") + 1 :])
