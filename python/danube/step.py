"""Steps: commands in a sandbox of their own, each a row of the job."""

import base64
import re
from typing import List, Mapping, Optional, Sequence, Set, Union

from ._calls import CallFailed, call

#: As many characters of a command become its step's name.
_NAME_CHARS = 60

_used: Set[str] = set()


class StepResult:
    """How a step ended."""

    def __init__(self, answer: Mapping[str, object]) -> None:
        self.name = str(answer["name"])
        #: `success`, `failure`, `timeout` or `cancelled`
        self.status = str(answer["status"])
        code = answer["exit_code"]
        #: None when it was stopped; `128 + n` when signal n ended it.
        self.exit_code: Optional[int] = int(code) if isinstance(code, int) else None
        output = answer.get("stdout_base64")
        #: What it wrote to standard output, if that was captured.
        self.stdout_bytes: Optional[bytes] = (
            base64.b64decode(output) if isinstance(output, str) else None
        )
        #: There was more of it than is captured (1 MiB).
        self.truncated = bool(answer.get("truncated", False))

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status == "success"

    @property
    def stdout(self) -> Optional[str]:
        """The same as text."""
        return None if self.stdout_bytes is None else self.stdout_bytes.decode(errors="replace")

    def __repr__(self) -> str:
        return f"StepResult({self.name!r}, {self.status!r}, exit_code={self.exit_code!r})"


class StepFailed(Exception):
    """A step that was to succeed didn't."""

    def __init__(self, result: StepResult) -> None:
        how = {
            "timeout": "took longer than it may",
            "cancelled": "was stopped",
        }.get(result.status, f"ended with exit code {result.exit_code}")
        super().__init__(f"step `{result.name}` {how}")
        self.result = result


def run(
    cmd: Union[str, Sequence[str]],
    *,
    name: Optional[str] = None,
    check: bool = True,
    capture: bool = False,
    env: Optional[Mapping[str, str]] = None,
    secrets: Optional[Mapping[str, str]] = None,
    timeout: Optional[int] = None,
    shell: Optional[str] = None,
) -> StepResult:
    """Runs a step to its end: text is a script for a shell, a list a program and its arguments.

    `check`: raise `StepFailed` unless it succeeds. `capture`: its standard output comes with
    the result, and stands in the log all the same. `secrets`: which variable gets which secret
    of the pipeline. `timeout`: seconds. `shell`: `sh` or `bash`.
    """
    request = {
        "name": name if name is not None else _name_of(cmd),
        "env": {key: str(value) for key, value in (env or {}).items()},
        "secrets": dict(secrets or {}),
        "capture": capture,
    }
    if isinstance(cmd, str):
        request["run"] = cmd
        if shell is not None:
            request["shell"] = shell
    else:
        words: List[str] = [str(word) for word in cmd]
        request["command"] = words
    if timeout is not None:
        request["timeout_seconds"] = timeout
    answer = call(["step", "run", "--request"], request)
    if not isinstance(answer, dict) or "status" not in answer:
        raise CallFailed("the program `danube` answered what no step is", 1)
    result = StepResult(answer)
    _used.add(result.name)
    if check and not result.ok:
        raise StepFailed(result)
    return result


def _name_of(cmd: Union[str, Sequence[str]]) -> str:
    text = cmd if isinstance(cmd, str) else " ".join(str(word) for word in cmd)
    text = re.sub(r"[^A-Za-z0-9 \-_./:()+#&,]+", " ", text.strip().split("\n")[0])
    text = re.sub(r"^[^A-Za-z0-9]+", "", re.sub(r" +", " ", text))[:_NAME_CHARS].strip()
    base = name = text or "step"
    number = 2
    while name in _used:
        name = f"{base} #{number}"
        number += 1
    _used.add(name)
    return name
