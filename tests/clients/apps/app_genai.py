"""An application around the OpenAI client, instrumented by OpenTelemetry's own GenAI instrumentation."""

import sys

from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from shared import asks_streaming, asks_with_a_tool, client, tell, tracing

provider = tracing()
OpenAIInstrumentor().instrument(tracer_provider=provider)
tracer = provider.get_tracer("bank.assistant")
about = {"session.id": "session-3", "user.id": "user-3"}
with tracer.start_as_current_span("turn", attributes=about) as root:
    if sys.argv[1] == "tool":
        asks_with_a_tool(client(), "What is a euro worth?")
    else:
        asks_streaming(client(), "Where is my card?")
provider.shutdown()
tell(root.get_span_context().trace_id)
