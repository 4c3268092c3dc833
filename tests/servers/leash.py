"""Run a program as somebody, and let it die with the tests: leash.py PARENT SIGNAL USER PROGRAM ARGUMENT…

A test run that is killed must not leave gateways and databases behind: they would disturb the next measurement.
Linux sends SIGNAL when the thread that started us ends, so start processes from the main thread. Elsewhere there
is no such bond. The process id stays the same, because this program is replaced by PROGRAM.
"""

import ctypes
import os
import pwd
import shutil
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def become(name: str) -> None:
    person = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(person.pw_gid)
    os.setuid(person.pw_uid)


def main(parent: str, signal: str, user: str, program: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        sys.exit(f"{program}: no such program")
    # Somebody else may not be able to read Python's own files: from here on nothing is imported.
    # The bond comes after the change of user, which would take it off again.
    if user:
        become(user)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the tests ended before their process began")
    os.execv(path, [program, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
