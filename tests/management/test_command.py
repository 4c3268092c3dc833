from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError

from taskbell.management.commands.taskbell import VERBS, load
from tests.databases import settings_of
from tests.management.calls import taskbell
from tests.servers.project import Project, environment

COMMON = ["--settings=tests.settings", "--pythonpath=.", "-v2", "--no-color", "--traceback", "--skip-checks"]
TOUCHING = ["status", "prune", "new-epoch --yes", "tail", "publish public:a message {}", "serve --port 0"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert taskbell(verb, "--help")[0] == 0
    assert " ".join(load(verb).help.split()) in " ".join(capsys.readouterr().out.split())


@pytest.mark.proof
def test_the_options_of_every_command_may_stand_before_and_after_the_verb(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    del one.env["DJANGO_SETTINGS_MODULE"]
    one.configure(UNKNOWN=1)
    for argv in (["taskbell", "status", *COMMON], ["taskbell", *COMMON, "status"]):
        ran = one.run(*argv)
        # The mistake in the settings shows that --skip-checks is heard.
        assert (ran.returncode, ran.stderr) == (0, "")
    assert one.run("taskbell", "status", "--settings=tests.settings").returncode == 1


def test_a_verb_is_needed() -> None:
    with pytest.raises(CommandError, match="VERB"):
        taskbell("dance")


@pytest.mark.proof
@pytest.mark.parametrize("command", TOUCHING)
def test_missing_tables_are_a_sentence_and_no_traceback(
    project: Callable[[str], Project], tmp_path: Path, command: str
) -> None:
    one = project("sqlite")
    one.env |= environment(str(tmp_path / "empty.sqlite3"))
    ran = one.run("taskbell", *command.split())
    assert ran.returncode == 1
    sentence = "Tables of Taskbell are missing in the database 'default'. Run: manage.py migrate\n"
    assert ran.stderr == f"CommandError: {sentence}"


@pytest.mark.proof
@pytest.mark.parametrize("address", ["/nowhere/db.sqlite3", "postgresql://nobody@127.0.0.1:1/nothing"])
def test_a_database_that_is_away_is_a_sentence_and_no_traceback(
    project: Callable[[str], Project], address: str
) -> None:
    assert settings_of(address)
    one = project("sqlite")
    one.env |= environment(address)
    ran = one.run("taskbell", "status")
    assert ran.returncode == 1
    assert ran.stderr.startswith("CommandError: The database 'default' does not answer: ")
    assert ran.stderr.endswith("Does DATABASES['default'] name it, and does it run?\n")
    assert ran.stderr.count("\n") == 1
