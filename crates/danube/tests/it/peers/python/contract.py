"""Hooks of Schemathesis: things that exist in place of made-up names, and a record.

DANUBE_CONTRACT names a JSON file:
  real    for each path of the description, names of things to put into its {…};
          where there are several {…}, an object with one for each
  ended   a path whose answer ends by itself only for an ended job: always these
  record  the file to which a line `METHOD PATH STATUS` is added for each answer
"""

import json
import os
import zlib
from collections import Counter

import schemathesis

with open(os.environ["DANUBE_CONTRACT"]) as file:
    GIVEN = json.load(file)

RECORD = open(GIVEN["record"], "a", buffering=1)
SEEN = {}
CALLS = Counter()


def is_endless(case):
    """Whether the answer would go on until a job ends, and this one never will."""
    if case.operation.path in GIVEN["ended"]:
        return True
    query = case.query
    return case.operation.path.endswith("/logs") and isinstance(query, dict) and "follow" in query


def with_a_key_of_its_own(case):
    """The same key for every body would only ever tell of the conflict."""
    headers = case.headers
    key = headers.get("Idempotency-Key") if headers else None
    if key and len(str(key)) < 200 and zlib.crc32(repr(case.body).encode()) % 4:
        SEEN["key"] = SEEN.get("key", 0) + 1
        headers["Idempotency-Key"] = f"{key}{SEEN['key']}"


def without_patience(case):
    """A submit that waits for the job's end would wait for long: nothing runs jobs here."""
    query = case.query
    if case.operation.path == "/api/v1/jobs" and isinstance(query, dict) and "sync" in query:
        asked = str(query.get("timeout_seconds", 1))
        if asked.isascii() and asked.isdigit() and 0 < int(asked) <= 600:
            query["timeout_seconds"] = 1


@schemathesis.hook
def before_call(ctx, case, kwargs):
    with_a_key_of_its_own(case)
    without_patience(case)
    parameters = case.path_parameters
    label = f"{case.operation.method.upper()} {case.operation.path}"
    real = GIVEN["real"].get(label) or GIVEN["real"].get(case.operation.path)
    if not isinstance(parameters, dict) or not real:
        return
    # Every other call, so that each operation gets its share however few its calls are.
    CALLS[label] += 1
    if is_endless(case) or CALLS[label] % 2:
        at = SEEN[label] = SEEN.get(label, -1) + 1
        chosen = real[at % len(real)]
        case.path_parameters = chosen if isinstance(chosen, dict) else {next(iter(parameters)): chosen}


@schemathesis.hook
def after_call(ctx, case, response):
    RECORD.write(f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n")
