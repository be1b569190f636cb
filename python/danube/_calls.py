"""Calls of the job to its server, by way of the program `danube`.

It speaks HTTP/2, tries again while the server restarts, and knows how to reach it where a
job has no network. What is asked goes to it over its standard input, so that nothing of it
can be read in a list of processes.
"""

import json
import subprocess
from typing import Any, List, Optional


class CallFailed(Exception):
    """The server refused, or can't be reached."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        #: What `danube explain` knows: 2 wrong, 4 not allowed, 5 unknown, 6 conflict, 7 away.
        self.exit_code = exit_code


def call(arguments: List[str], request: Optional[Any] = None) -> Any:
    """Runs `danube` and returns what it answers in JSON."""
    body = None if request is None else json.dumps(request).encode()
    try:
        done = subprocess.run(
            ["danube", "--output", "json", *arguments],
            input=body,
            stdin=subprocess.DEVNULL if body is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except FileNotFoundError:
        raise CallFailed("the program `danube` isn't in PATH: this runs in no job", 127) from None
    # A step that failed has an answer too, and its exit code is the program's.
    if done.stdout.strip():
        return json.loads(done.stdout)
    if done.returncode == 0:
        return None
    raise CallFailed(_why(done.stderr), done.returncode)


def _why(said: bytes) -> str:
    text = said.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or "the program `danube` said nothing"
