"""The files of deploy/ and the diffs of the page that moves a site, without starting anything that lasts."""

import compileall
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbell.conf import DEFAULTS
from taskbell.gateway.files import BESIDE_STREAMS
from tests.conftest import missing
from tests.deploy.diffs import changed, diffs, move
from tests.deploy.site import BEFORE, DEPLOY, Site, Unit
from tests.markdown import ROOT, examples, links
from tests.servers.nginx import Nginx
from tests.servers.process import Unavailable

UNITS = sorted(path.stem for path in DEPLOY.glob("*.service"))
ADDRESS = "postgresql://somebody@/somewhere?host=/nowhere"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    try:
        site = Site(ADDRESS, "redis://127.0.0.1:1/0")
    except Unavailable as error:
        missing(error)
    yield site
    site.remove()


def test_nginx_takes_the_file(site: Site) -> None:
    checked = site.nginx.check()
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


def test_nginx_does_not_take_anything() -> None:
    try:
        nginx = Nginx("server { listen 127.0.0.1:1; proxy_bufering off; }")
    except Unavailable as error:
        missing(error)
    try:
        assert "proxy_bufering" in nginx.check().stderr
    finally:
        nginx.remove()


def test_nginx_waits_longer_than_a_ping() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", text)
    latest = DEFAULTS["PING"] * 1.2
    assert int(seconds) > 2 * latest
    assert f"a fifth ({latest:.0f})" in text
    assert f"{DEFAULTS['STREAM_AGE'] * 1.2 / 60:.0f} minutes at most" in text


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_names_programs_that_exist(site: Site, name: str) -> None:
    service = site.unit(name).service
    program, *_ = shlex.split(service["ExecStart"])
    assert Path(program).exists()
    assert service["Restart"] == "always"
    assert service["KillSignal"] == "SIGTERM"


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_unit(site: Site, name: str, tmp_path: Path) -> None:
    text = site.render(f"{name}.service")
    assert complaints(text, tmp_path / f"{name}.service") == []
    broken = tmp_path / f"broken-{name}.service"
    assert len(complaints(text.replace("KillSignal=", "KilSignal=").replace("/bin/", "/nowhere/"), broken)) >= 2


def complaints(text: str, unit: Path) -> list[str]:
    """Return what systemd says of a unit, and not what it goes on to say of those that the machine has installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on PATH; the other tests parse the units and run what they start")
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if unit.name in line]


def test_the_units_fit_the_settings() -> None:
    gateway, worker = (Unit((DEPLOY / f"{name}.service").read_text()).service for name in ("taskbell", "worker"))
    assert int(gateway["LimitNOFILE"]) == DEFAULTS["STREAMS_PER_PROCESS"] + BESIDE_STREAMS
    assert int(gateway["TimeoutStopSec"]) > DEFAULTS["DRAIN"]
    [limit] = re.findall(r"CELERY_TASK_TIME_LIMIT = (\d+) \* 60", (BEFORE / "mysite" / "settings.py").read_text())
    assert int(worker["TimeoutStopSec"]) > int(limit) * 60


def test_the_unit_of_the_documentation_is_the_one_of_deploy() -> None:
    [example] = examples(ROOT / "docs" / "how-to" / "production.md", "ini")
    shown, ours = Unit(example.text), Unit((DEPLOY / "taskbell.service").read_text())
    for section in shown.sections():
        options = dict(shown[section])
        options.pop("Description", None)
        assert options.items() <= dict(ours[section]).items()


def test_the_readme_of_deploy_names_its_files() -> None:
    page = DEPLOY / "README.md"
    named = {(DEPLOY / link).resolve() for link in links(page)}
    assert all(path.exists() for path in named)
    assert {path for path in DEPLOY.iterdir() if path != page} <= named


# The page


def test_the_diffs_move_the_site(tmp_path: Path) -> None:
    move(BEFORE, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    text = "\n".join(path.read_text() for path in files)
    assert "eventstream" not in text.replace("new EventSource", "")
    assert "daphne" not in text
    assert compileall.compile_dir(tmp_path, quiet=1)


def test_both_ways_of_writing_the_task_end_the_same() -> None:
    [sent, called] = [diff for diff in diffs() if diff.value("file") == "mysite/tasks.py"]
    after = [
        changed((BEFORE / (diff.value("from") or diff.value("file"))).read_text(), diff.text) for diff in (sent, called)
    ]
    assert after[0] == after[1]
    assert "taskbell" not in after[0]


@pytest.mark.parametrize("diff", diffs(), ids=str)
def test_a_diff_says_which_file_it_is(diff) -> None:  # type: ignore[no-untyped-def]
    assert diff.text.startswith(f"--- {diff.value('file')}\n")
    with pytest.raises(ValueError, match="0 times"):
        changed("something else\n", diff.text)


def test_the_site_before_is_one_that_could_run() -> None:
    files = sorted(path for path in BEFORE.rglob("*.py"))
    assert files
    for path in files:
        compile(path.read_text(), str(path), "exec")
    assert sys.modules.get("django_eventstream") is None
