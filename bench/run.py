"""`python bench/run.py --help`; README.md beside this file explains the figures."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # A script's imports start in its own folder; ours start at the repository, as those of the processes it starts.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from bench.rig.command import main

    sys.exit(main())
