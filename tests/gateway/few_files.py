"""Run a module with few open files: `python -m tests.gateway.few_files FILES MODULE ARGUMENT…`."""

import resource
import runpy
import sys

if __name__ == "__main__":
    files, module = int(sys.argv[1]), sys.argv[2]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
