"""Steps, secrets and artifacts of a Danube job, from its own program.

    #!/usr/bin/env python3
    from danube import artifacts, ctx, pipeline, secrets, step

    @pipeline
    def build():
        step.run("make test", name="test")
        if ctx.ref == "main":
            step.run(["./publish"], name="publish", env={"TOKEN": secrets.get("deploy")})
        artifacts.upload("dist/app.tar.gz")

    build()
"""

from . import artifacts, secrets, step
from ._calls import CallFailed
from .pipeline import Context, ctx, pipeline, report
from .step import StepFailed, StepResult

__all__ = [
    "CallFailed",
    "Context",
    "StepFailed",
    "StepResult",
    "artifacts",
    "ctx",
    "pipeline",
    "report",
    "secrets",
    "step",
]
