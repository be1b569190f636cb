"""Secrets that the pipeline names."""

from ._calls import call


def get(name: str) -> str:
    """The secret's value. The job's log masks it before this returns."""
    return str(call(["secret", "get", "--", name])["value"])
