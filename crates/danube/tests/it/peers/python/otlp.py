"""Reads OTLP requests from standard input, each a line of JSON that says what
follows and then its body; prints each as a line of JSON."""

import base64
import gzip
import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/traces": ExportTraceServiceRequest,
}


def ids_in_hex(value):
    """Protobuf's JSON has bytes in base 64; OTLP's own has ids in hex."""
    if isinstance(value, list):
        return [ids_in_hex(it) for it in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(it).hex() if key in ("traceId", "spanId", "parentSpanId") else ids_in_hex(it)
        for key, it in value.items()
    }


source = sys.stdin.buffer
while line := source.readline():
    head = json.loads(line)
    body = source.read(head["length"])
    if head["encoding"] == "gzip":
        body = gzip.decompress(body)
    message = REQUESTS[head["path"]]()
    message.ParseFromString(body)
    # Bytes that don't belong there would be skipped otherwise.
    known = message.SerializeToString()
    message.DiscardUnknownFields()
    if message.SerializeToString() != known:
        sys.exit(f"{head['path']}: fields that opentelemetry-proto doesn't know")
    print(json.dumps(ids_in_hex(MessageToDict(message))))
