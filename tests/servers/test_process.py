import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers.process import Process, free_port


def test_a_process_is_what_was_asked_for_under_its_own_id() -> None:
    process = Process([sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert int(output) == process.pid


def test_stopping_returns_the_exit_code(tmp_path: Path) -> None:
    program = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up'); signal.pause()"
    process = Process([sys.executable, "-u", "-c", program], log=tmp_path / "log")
    process.wait_until(lambda: "up" in process.output(), what="up")
    assert process.stop() == 7


def test_stopping_is_a_failure_when_it_takes_too_long(tmp_path: Path) -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); signal.pause()"
    process = Process([sys.executable, "-u", "-c", program], log=tmp_path / "log")
    process.wait_until(lambda: "deaf" in process.output(), what="up")
    with pytest.raises(AssertionError, match="deaf"):
        process.stop(timeout=0.1)
    assert not process.alive


def test_waiting_ends_with_the_log_when_the_process_does(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "print('no such setting'); raise SystemExit(3)"], log=tmp_path / "log")
    with pytest.raises(AssertionError, match=r"ended with 3 before ready\nno such setting"):
        process.wait_until(lambda: False, what="ready")


def test_a_frozen_process_can_be_destroyed() -> None:
    process = Process(["sleep", "60"])
    process.pause()
    process.destroy()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to the one that started it")
def test_processes_die_with_the_tests() -> None:
    program = (
        "from tests.servers.process import Process; import time; print(Process(['sleep', '60']).pid); time.sleep(60)"
    )
    argv = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as tests:
        assert tests.stdout is not None
        orphan = psutil.Process(int(tests.stdout.readline()))
        tests.kill()
    psutil.wait_procs([orphan], timeout=5)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_can_be_somebody_else() -> None:
    process = Process(["id", "-un"], user="nobody", stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert output == "nobody\n"


def test_ports_are_not_handed_out_twice() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
