"""Sends spans as any program does: all that it knows is in its environment."""

import os

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

carrier = {"traceparent": os.environ["TRACEPARENT"], "tracestate": os.environ.get("TRACESTATE", "")}
context = TraceContextTextMapPropagator().extract(carrier)
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("suite")
with tracer.start_as_current_span("suite", context=context):
    for name in ["first", "second"]:
        with tracer.start_as_current_span(name) as span:
            span.set_attribute("n", 7)
            try:
                raise ValueError("as it should")
            except ValueError as error:
                span.record_exception(error)
provider.shutdown()
