"""The pipeline's own function, and what its job is about."""

import atexit
import functools
import os
import sys
from typing import Any, Callable, Dict, Optional

from ._calls import CallFailed, call
from .step import StepFailed

_declared: Optional["_Pipeline"] = None


class Context:
    """What the job is about. Each is read when it is asked for."""

    @property
    def job_id(self) -> str:
        """The job."""
        return _variable("DANUBE_JOB_ID")

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return _variable("DANUBE_PIPELINE")

    @property
    def ref(self) -> str:
        """The branch, tag or commit that was asked for; empty for the repository's own."""
        return _variable("DANUBE_REF")

    @property
    def commit(self) -> str:
        """The commit that was cloned."""
        return _variable("DANUBE_COMMIT")

    @property
    def workspace(self) -> str:
        """Where the source is."""
        return _variable("DANUBE_WORKSPACE")

    @property
    def server(self) -> str:
        """The server's address."""
        return _variable("DANUBE_SERVER")

    @property
    def parameters(self) -> Dict[str, str]:
        """The job's parameters."""
        prefix = "DANUBE_PARAM_"
        pairs = os.environ.items()
        return {key[len(prefix) :]: value for key, value in pairs if key.startswith(prefix)}


ctx = Context()


def report(message: str, status: str = "running") -> None:
    """Says in the job's log how it goes. With the status `failure` the job is one, and
    `message` its reason, however this program ends."""
    call(["step", "report", "--status", status, "--", message])


class _Pipeline:
    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.has_run = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.has_run = True
        try:
            return self._function(*arguments, **named)
        except (StepFailed, CallFailed) as error:
            try:
                report(str(error), "failure")
            except CallFailed as unheard:
                print(f"report the failure: {unheard}", file=sys.stderr)
            print(f"danube: {error}", file=sys.stderr, flush=True)
            sys.exit(1)


def pipeline(function: Callable[..., Any]) -> _Pipeline:
    """Marks the function that is the pipeline. A step that fails in it ends the program, and
    is the reason of the job's end. Call it at the end of the file, or have the file run by
    `python3 -m danube`."""
    global _declared
    if _declared is not None:
        raise TypeError("there is a pipeline already: a file declares one")
    _declared = _Pipeline(function)
    return _declared


def declared() -> Optional[_Pipeline]:
    """The pipeline, once one was declared."""
    return _declared


@atexit.register
def _was_run() -> None:
    # A job that did nothing must not look like one that did it all.
    if _declared is not None and not _declared.has_run and sys.exc_info()[0] is None:
        name = getattr(_declared, "__name__", "it")
        print(f"danube: the pipeline is declared and never called: add `{name}()`", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2)


def _variable(name: str) -> str:
    return os.environ.get(name, "")
