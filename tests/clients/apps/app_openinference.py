"""An application around the OpenAI client, instrumented by OpenInference."""

import os
import sys

from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.propagate import inject
from shared import asks_streaming, asks_with_a_tool, client, tell, tracing

provider = tracing()
OpenAIInstrumentor().instrument(tracer_provider=provider)
tracer = provider.get_tracer("bank.assistant")
way = sys.argv[1]
with (
    tracer.start_as_current_span("turn", attributes={"openinference.span.kind": "CHAIN"}) as root,
    using_attributes(session_id="session-2", user_id="user-2", tags=["beta"], metadata={"branch": "north"}),
):
    if way == "tool":
        asks_with_a_tool(client(), "What is a euro worth?")
    elif way == "stream":
        asks_streaming(client(), "Where is my card?")
    else:
        headers: dict[str, str] = {}
        inject(headers)
        asks_streaming(client(), os.environ["CLIENT_QUESTION"], extra_headers=headers)
provider.shutdown()
tell(root.get_span_context().trace_id)
