"""Reads our JSON Schemas with another's validator: each takes the example's files of its
kind, and refuses each of them with a field that isn't one, or without its spec."""

import copy
import json
import pathlib
import sys

import jsonschema_rs
import yaml

schemas, example = map(pathlib.Path, sys.argv[1:3])
validators = {}
for path in schemas.glob("*.json"):
    schema = json.loads(path.read_text())
    jsonschema_rs.meta.validate(schema)
    validators[path.stem] = jsonschema_rs.validator_for(schema)
assert sorted(validators) == ["config", "pipeline", "team", "user"], validators

for path in example.rglob("*.*"):
    document = yaml.safe_load(path.read_text())
    validator = validators[document["kind"].lower()]
    validator.validate(document)
    for other in validators.values():
        assert other is validator or not other.is_valid(document), path
    wrong = copy.deepcopy(document)
    wrong["spec"]["zzz"] = 1
    assert not validator.is_valid(wrong), path
    del wrong["spec"]
    assert not validator.is_valid(wrong), path
    if document["kind"] == "Pipeline":
        wrong = copy.deepcopy(document)
        wrong["spec"].pop("steps", None)
        wrong["spec"].pop("script", None)
        assert not validator.is_valid(wrong), path
print("ok")
