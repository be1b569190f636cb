"""Reads an exposition from standard input; prints its samples as JSON."""

import json
import sys

if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families


def exemplar(of):
    return of and [sorted(of.labels.items()), repr(float(of.value))]


# Python reads `\r\n` as one line end unless it is told not to.
text = sys.stdin.buffer.read().decode()
samples = [
    {
        "name": sample.name,
        "labels": sorted(sample.labels.items()),
        "value": repr(float(sample.value)),
        "exemplar": exemplar(sample.exemplar),
        "family": family.name,
        "kind": family.type,
        "unit": family.unit,
        "help": family.documentation,
    }
    for family in text_string_to_metric_families(text)
    for sample in family.samples
]
json.dump(samples, sys.stdout)
