"""An application that writes OpenTelemetry GenAI spans by hand, with a tool, a failure inside and an evaluation."""

import json

from opentelemetry.trace import StatusCode
from shared import tell, tracing

provider = tracing()
tracer = provider.get_tracer("bank.assistant", "3")
about = {"gen_ai.conversation.id": "conversation-1", "user.id": "user-1"}
with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent", **about}) as root:
    with tracer.start_as_current_span(
        "execute_tool stop_card",
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "stop_card",
            "gen_ai.tool.call.id": "c-1",
            "gen_ai.tool.call.arguments": json.dumps({"card": "ending 12"}),
            "gen_ai.tool.call.result": json.dumps({"status": "stopped", "receipt": "R-9"}),
        },
    ) as tool:
        try:
            raise TimeoutError("the first try timed out")
        except TimeoutError as error:
            tool.record_exception(error)
    with tracer.start_as_current_span(
        "chat",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "fake-large",
            "gen_ai.response.model": "fake-large-2026-01",
            "gen_ai.usage.input_tokens": 31,
            "gen_ai.usage.output_tokens": 9,
            "gen_ai.input.messages": json.dumps(
                [{"role": "user", "parts": [{"type": "text", "content": "Please stop my card."}]}]
            ),
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": "Your card is stopped."}]}]
            ),
        },
    ) as chat:
        chat.set_status(StatusCode.OK)
        chat.add_event(
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.75},
        )
provider.shutdown()
tell(root.get_span_context().trace_id)
