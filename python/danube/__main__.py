"""`python3 -m danube danubefile.py`: runs the pipeline that the file declares.

As the first line of a file: `#!/usr/bin/env -S python3 -m danube`
"""

import runpy
import sys

from .pipeline import declared


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python3 -m danube FILE")
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="danubefile")
    found = declared()
    if found is None:
        sys.exit(f"{sys.argv[0]} declares no pipeline: mark a function with `@pipeline`")
    if not found.has_run:
        found()


if __name__ == "__main__":
    main()
