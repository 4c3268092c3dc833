"""`make try` in real processes: what is typed comes back, whatever happens to the gateway, and nothing stays behind."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers.process import Process
from tests.servers.project import ROOT
from tests.servers.sse import Event, Parser

PROGRAM = str(ROOT / "demo" / "line.py")
GATEWAY = re.compile(r"^gateway (\d+) serves http://127\.0\.0\.1:\d+/events/$", re.MULTILINE)


class Line:
    """One run of the program; `frames()` and `hints()` are what it printed so far."""

    def __init__(self, folder: Path, stdin: int = subprocess.PIPE, stdout: int | None = None, **env: str) -> None:
        self.folder = folder
        (folder / "tmp").mkdir()
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            self.process = Process(
                [sys.executable, PROGRAM],
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env=inherited | {"TMPDIR": str(folder / "tmp")} | env,
            )

    def type(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.buffer.write(data)  # type: ignore[attr-defined]
        self.process.stdin.flush()

    def frames(self) -> list[Event]:
        return Parser().feed((self.folder / "out").read_bytes())

    def lines(self) -> list[str]:
        return [frame.json["line"] for frame in self.frames()]

    def hints(self) -> str:
        return (self.folder / "err").read_text()

    def gateways(self) -> list[int]:
        """Every gateway that was announced, the present one last."""
        return [int(pid) for pid in GATEWAY.findall(self.hints())]

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20
        while not ready():
            assert time.monotonic() < deadline, f"not {what}\n{self.hints()}"
            assert self.process.alive, f"ended before {what}\n{self.hints()}"
            time.sleep(0.02)

    def end(self) -> int:
        """Close standard input and return the exit status."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.process.wait(30)

    def leaves_nothing(self) -> None:
        assert not list((self.folder / "tmp").iterdir())
        assert not [pid for pid in self.gateways() if psutil.pid_exists(pid)]

    def destroy(self) -> None:
        for pid in self.gateways():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.destroy()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    started: list[Line] = []

    def start(**options: object) -> Line:
        line = Line(tmp_path, **options)  # type: ignore[arg-type]
        started.append(line)
        return line

    yield start
    for line in started:
        line.destroy()


def test_piped_lines_come_back_as_frames_and_it_ends_by_itself(start: Callable[..., Line]) -> None:
    line = start()
    line.type(b"a\nb\n")
    assert line.end() == 0
    assert [(frame.type, frame.data) for frame in line.frames()] == [("line", '{"line":"a"}'), ("line", '{"line":"b"}')]
    raw = (line.folder / "out").read_text()
    assert re.fullmatch(r'(id: 1\.\w+\.\d+\.\w+\nevent: line\ndata: \{"line":"[ab]"\}\n\n){2}', raw)
    assert len(line.gateways()) == 1
    line.leaves_nothing()


@pytest.mark.proof
def test_nothing_piped_in_ends_well(start: Callable[..., Line]) -> None:
    line = start(stdin=subprocess.DEVNULL)
    assert line.end() == 0
    assert line.frames() == []
    line.leaves_nothing()


@pytest.mark.proof
def test_every_kind_of_line(start: Callable[..., Line]) -> None:
    line = start()
    line.type(b"\n" + "한국 🎉\n".encode() + b'data: x\r\n{"a":\t1}\n\xff\xfe\n\0\nid: 7\x85\x0b\xe2\x80\xa8.\nlast')
    assert line.end() == 0
    assert line.lines() == ["", "한국 🎉", "data: x\r", '{"a":\t1}', "��", "\0", "id: 7�\x0b\u2028.", "last"]


def test_a_line_that_is_too_long_is_refused_and_the_next_one_goes_on(start: Callable[..., Line]) -> None:
    line = start()
    # The payload is {"line":"…"}: 11 bytes around the text.
    line.type(b"x" * (64 * 1024 - 11) + b"\n" + b"x" * (64 * 1024 - 10) + b"\nafter\n")
    assert line.end() == 0
    assert [len(text) for text in line.lines()] == [64 * 1024 - 11, 5]
    assert "The payload is 65,537 bytes as JSON, the limit is 65,536." in line.hints()


@pytest.mark.proof
def test_lines_typed_while_the_gateway_is_dead_come_back_once_and_in_order(start: Callable[..., Line]) -> None:
    line = start()
    sent = [f"{round} {number}" for round in range(3) for number in range(200)]
    typed = iter(sent)
    for round in range(3):
        line.wait_until(lambda: len(line.gateways()) > round, "announced")  # noqa: B023
        # Half of the lines are on their way when it is killed, the other half is typed while nobody is there.
        line.type("".join(f"{next(typed)}\n" for _ in range(100)).encode())
        os.kill(line.gateways()[-1], signal.SIGKILL)
        line.type("".join(f"{next(typed)}\n" for _ in range(100)).encode())
    assert line.end() == 0
    assert line.lines() == sent
    assert len(line.gateways()) == 4
    line.leaves_nothing()


@pytest.mark.proof
def test_a_gateway_that_was_asked_to_stop_is_started_again(start: Callable[..., Line]) -> None:
    line = start()
    line.wait_until(lambda: bool(line.gateways()), "announced")
    line.type(b"before\n")
    line.wait_until(lambda: line.lines() == ["before"], "back")
    os.kill(line.gateways()[0], signal.SIGTERM)
    line.type(b"after\n")
    assert line.end() == 0
    assert line.lines() == ["before", "after"]
    line.leaves_nothing()


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(start: Callable[..., Line], number: signal.Signals) -> None:
    line = start()
    line.type(b"a\n")
    line.wait_until(lambda: line.lines() == ["a"], "back")
    line.process.send_signal(number)
    assert line.process.wait(20) == 130
    assert "Traceback" not in line.hints()
    line.leaves_nothing()


@pytest.mark.proof
@pytest.mark.parametrize("more", [1, 500], ids=["waiting-for-input", "publishing"])
def test_a_reader_that_has_seen_enough_ends_everything(start: Callable[..., Line], more: int) -> None:
    read, write = os.pipe()
    line = start(stdout=write)
    os.close(write)
    line.type(b"a\n")
    assert os.read(read, 4) == b"id: "
    os.close(read)
    line.type(b"b\n" * more)
    assert line.process.wait(20) == 0
    assert "Traceback" not in line.hints()
    assert "Error" not in line.hints()
    line.leaves_nothing()


@pytest.mark.proof
def test_a_terminal_is_told_what_to_do(start: Callable[..., Line]) -> None:
    keyboard, terminal = pty.openpty()
    line = start(stdin=terminal)
    os.close(terminal)
    line.wait_until(lambda: "Type a line" in line.hints(), "told")
    os.write(keyboard, b"hello\n")
    line.wait_until(lambda: line.lines() == ["hello"], "back")
    os.write(keyboard, b"\x04")
    assert line.end() == 0
    os.close(keyboard)
    line.leaves_nothing()


@pytest.mark.proof
def test_a_pipe_is_not_told_what_to_type(start: Callable[..., Line]) -> None:
    line = start()
    line.type(b"a\n")
    assert line.end() == 0
    assert GATEWAY.sub("", line.hints()).strip() == ""


@pytest.mark.proof
def test_a_gateway_that_cannot_start_is_an_error_and_not_a_wait_for_ever(
    start: Callable[..., Line], tmp_path: Path
) -> None:
    broken = tmp_path / "broken" / "uvicorn"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('half installed')")
    line = start(PYTHONPATH=str(broken.parent))
    assert line.process.wait(30) == 1
    assert "half installed" in line.hints()
    assert "ends as soon as it is started" in line.hints()
    line.leaves_nothing()
