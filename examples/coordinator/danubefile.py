#!/usr/bin/env python3
"""A coordinator in Python: see docs/coordinator.md."""

from danube import artifacts, ctx, pipeline, secrets, step


@pipeline
def build() -> None:
    step.run("make test", name="test")
    version = (step.run(["git", "describe", "--always"], name="version", capture=True).stdout or "").strip()
    if ctx.ref == "main":
        step.run(["./publish", version], name="publish", env={"TOKEN": secrets.get("deploy")}, timeout=600)
    artifacts.upload("dist/app.tar.gz", name=f"app-{version}.tar.gz")


build()
