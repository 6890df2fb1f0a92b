"""Dialects: which attribute of which convention is which of our columns. One table each, read top to bottom.

How to read a table: a column takes the first attribute that is there. A name ending in `.*` is a family of attributes that
together spell a list (`llm.input_messages.0.message.role`, …). `resource:` looks at the resource, `scope:version` at the
scope. Where several dialects fit one span, the one further up in `DIALECTS` speaks first.

Sources: OpenTelemetry semantic conventions for generative AI (current and before 1.37), OpenInference semantic
conventions, Langfuse's OpenTelemetry property mapping, Traceloop's semantic conventions, MLflow's span attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAPPING_VERSION = 3
"""Raise it when a table changes; stored traces of an older version can then be assembled again."""


class SpanKind(StrEnum):
    """What a span did for the answer."""

    LLM = "llm"
    TOOL = "tool"
    RETRIEVER = "retriever"
    RERANKER = "reranker"
    EMBEDDING = "embedding"
    AGENT = "agent"
    CHAIN = "chain"
    GUARDRAIL = "guardrail"
    EVALUATOR = "evaluator"
    PROMPT = "prompt"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Dialect:
    """One convention of naming attributes. Each is itself alone, so that plans of reading can be kept by it."""

    name: str
    signs: tuple[str, ...]
    """A span with an attribute that begins like one of these speaks the dialect."""
    columns: Mapping[str, tuple[str, ...]]
    """Our column → attributes, first one wins."""
    kinds: Mapping[str, Mapping[str, SpanKind]] = field(default_factory=dict)
    """Attribute → its value (lower case) → what the span did."""
    encoded: tuple[str, ...] = ()
    """Beginnings of attributes whose value is always JSON text, a plain string in quotes too."""
    carriers: tuple[str, ...] = ()
    """Events whose attributes count as the span's own."""
    message_events: Mapping[str, str] = field(default_factory=dict)
    """Events that are a message each: event name → role; the role `output` is the answer."""


K = SpanKind

WORKBENCH = Dialect(
    name="workbench",
    signs=("workbench.",),
    columns={
        "name": ("workbench.name",),
        "session_id": ("workbench.session_id",),
        "user_id": ("workbench.user_id",),
        "input": ("workbench.input",),
        "output": ("workbench.output",),
        "messages_in": ("workbench.messages",),
        "model": ("workbench.model",),
        "provider": ("workbench.provider",),
        "input_tokens": ("workbench.input_tokens",),
        "output_tokens": ("workbench.output_tokens",),
        "cost": ("workbench.cost",),
        "currency": ("workbench.cost.currency", "workbench.currency"),
        "first_token_ms": ("workbench.first_token_ms",),
        "language": ("workbench.language",),
        "release": ("workbench.release",),
        "prompt_version": ("workbench.prompt_version",),
        "corpus_commit": ("workbench.corpus_commit",),
        "environment": ("workbench.environment",),
        "intent": ("workbench.intent",),
        "triage_label": ("workbench.triage.label", "workbench.triage_label"),
        "triage_score": ("workbench.triage.score", "workbench.triage_score"),
        "documents": ("workbench.documents", "workbench.documents.*"),
        "tool_name": ("workbench.tool.name",),
        "tool_call_id": ("workbench.tool.call_id",),
        "tool_arguments": ("workbench.tool.arguments",),
        "tool_result": ("workbench.tool.result",),
        "tool_receipt": ("workbench.tool.receipt",),
        "guard": ("workbench.guard",),
        "tags": ("workbench.tags",),
        "machine_written": ("workbench.machine_written",),
        "error": ("workbench.error",),
    },
    kinds={
        "workbench.kind": {kind.value: kind for kind in SpanKind},
        "workbench.operation.name": {"triage": K.OTHER},  # a classification is no turn of the conversation
    },
)

LANGFUSE = Dialect(
    name="langfuse",
    signs=("langfuse.",),
    columns={
        "name": ("langfuse.trace.name",),
        "session_id": ("langfuse.session.id", "session.id"),
        "user_id": ("langfuse.user.id", "user.id"),
        "trace_input": ("langfuse.trace.input",),
        "trace_output": ("langfuse.trace.output",),
        "input": ("langfuse.observation.input",),
        "output": ("langfuse.observation.output",),
        "model": ("langfuse.observation.model.name",),
        "usage": ("langfuse.observation.usage_details",),
        "cost_details": ("langfuse.observation.cost_details",),
        "prompt_version": ("langfuse.observation.prompt.version",),
        "release": ("langfuse.release", "langfuse.version"),
        "environment": ("langfuse.environment",),
        "tags": ("langfuse.trace.tags",),
        "error": ("langfuse.observation.status_message",),
    },
    kinds={
        "langfuse.observation.type": {
            "generation": K.LLM,
            "embedding": K.EMBEDDING,
            "retriever": K.RETRIEVER,
            "tool": K.TOOL,
            "agent": K.AGENT,
            "chain": K.CHAIN,
            "span": K.CHAIN,
            "guardrail": K.GUARDRAIL,
            "evaluator": K.EVALUATOR,
        }
    },
)

OPENINFERENCE = Dialect(
    name="openinference",
    signs=(
        "openinference.",
        "llm.input_messages",
        "llm.output_messages",
        "llm.model_name",
        "llm.token_count",
        "retrieval.documents",
        "input.value",
        "output.value",
    ),
    columns={
        "session_id": ("session.id",),
        "user_id": ("user.id",),
        "input": ("input.value",),
        "output": ("output.value",),
        "messages_in": ("llm.input_messages.*",),
        "messages_out": ("llm.output_messages.*",),
        "completion": ("llm.choices.*", "llm.completions.*"),
        "model": ("llm.model_name", "embedding.model_name", "reranker.model_name"),
        "provider": ("llm.provider", "llm.system"),
        "input_tokens": ("llm.token_count.prompt",),
        "output_tokens": ("llm.token_count.completion",),
        "cost": ("llm.cost.total",),
        "prompt_version": ("llm.prompt_template.version",),
        "documents": ("retrieval.documents.*", "reranker.output_documents.*"),
        "tool_name": ("tool.name",),
        "tool_call_id": ("tool.id", "tool_call.id"),
        "tool_arguments": ("tool.parameters", "tool_call.function.arguments"),
        "tags": ("tag.tags",),
        "environment": ("resource:deployment.environment.name", "resource:deployment.environment"),
    },
    kinds={
        "openinference.span.kind": {
            "llm": K.LLM,
            "tool": K.TOOL,
            "chain": K.CHAIN,
            "retriever": K.RETRIEVER,
            "embedding": K.EMBEDDING,
            "agent": K.AGENT,
            "reranker": K.RERANKER,
            "guardrail": K.GUARDRAIL,
            "evaluator": K.EVALUATOR,
            "prompt": K.PROMPT,
        }
    },
)

OTEL_GENAI = Dialect(
    name="otel-genai",
    signs=("gen_ai.",),
    columns={
        "session_id": ("gen_ai.conversation.id", "session.id"),
        "user_id": ("user.id", "enduser.id", "enduser.pseudo.id"),
        "operation": ("gen_ai.operation.name",),
        "name": ("gen_ai.workflow.name",),
        "system": ("gen_ai.system_instructions",),
        # structured or a JSON string; before 1.37 numbered attributes or events; older still `gen_ai.prompt` on an event
        "messages_in": ("gen_ai.input.messages", "gen_ai.prompt.*", "gen_ai.prompt"),
        "messages_out": ("gen_ai.output.messages", "gen_ai.completion.*", "gen_ai.completion"),
        "model": ("gen_ai.response.model", "gen_ai.request.model"),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "cost": ("gen_ai.usage.cost",),
        "first_token_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
        "documents": ("gen_ai.retrieval.documents",),
        "query": ("gen_ai.retrieval.query.text",),
        "tool_name": ("gen_ai.tool.name",),
        "tool_call_id": ("gen_ai.tool.call.id",),
        "tool_arguments": ("gen_ai.tool.call.arguments",),
        "tool_result": ("gen_ai.tool.call.result",),
        "prompt_version": ("gen_ai.prompt.version",),
        "release": ("resource:service.version",),
        "environment": ("resource:deployment.environment.name", "resource:deployment.environment"),
        "error": ("error.message", "error.type"),
    },
    kinds={
        "gen_ai.operation.name": {
            "chat": K.LLM,
            "text_completion": K.LLM,
            "generate_content": K.LLM,
            "embeddings": K.EMBEDDING,
            "retrieval": K.RETRIEVER,
            "execute_tool": K.TOOL,
            "invoke_agent": K.AGENT,
            "create_agent": K.AGENT,
            "invoke_workflow": K.CHAIN,
        },
        "gen_ai.request.model": {"": K.LLM},  # any value: before operation names, a model meant a model call
    },
    carriers=(
        "gen_ai.client.inference.operation.details",
        "gen_ai.content.prompt",
        "gen_ai.content.completion",
    ),
    message_events={
        "gen_ai.system.message": "system",
        "gen_ai.user.message": "user",
        "gen_ai.assistant.message": "assistant",
        "gen_ai.tool.message": "tool",
        "gen_ai.choice": "output",
    },
)

TRACELOOP = Dialect(
    name="traceloop",
    signs=("traceloop.",),
    columns={
        "name": ("traceloop.workflow.name",),
        "session_id": (
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.conversation_id",
        ),
        "user_id": ("traceloop.association.properties.user_id",),
        "input": ("traceloop.entity.input",),
        "output": ("traceloop.entity.output",),
        "tool_name": ("traceloop.entity.name",),
        "tool_arguments": ("traceloop.entity.input",),
        "tool_result": ("traceloop.entity.output",),
        "prompt_version": ("traceloop.prompt.version",),
        "input_tokens": ("llm.usage.prompt_tokens",),
        "output_tokens": ("llm.usage.completion_tokens",),
    },
    encoded=("traceloop.entity.input", "traceloop.entity.output"),
    kinds={
        "traceloop.span.kind": {"workflow": K.CHAIN, "task": K.CHAIN, "agent": K.AGENT, "tool": K.TOOL},
        "llm.request.type": {"chat": K.LLM, "completion": K.LLM, "embedding": K.EMBEDDING, "rerank": K.RERANKER},
    },
)

MLFLOW = Dialect(
    name="mlflow",
    signs=("mlflow.",),
    columns={
        "session_id": ("mlflow.trace.session",),
        "user_id": ("mlflow.trace.user",),
        "input": ("mlflow.spanInputs",),
        "output": ("mlflow.spanOutputs",),
        "model": ("mlflow.llm.model", "mlflow.chat.model"),
        "provider": ("mlflow.llm.provider", "mlflow.message.format"),
        "usage": ("mlflow.chat.tokenUsage",),
        "cost_details": ("mlflow.llm.cost",),
    },
    encoded=("mlflow.",),
    kinds={
        "mlflow.spanType": {
            "llm": K.LLM,
            "chat_model": K.LLM,
            "chain": K.CHAIN,
            "workflow": K.CHAIN,
            "task": K.CHAIN,
            "agent": K.AGENT,
            "tool": K.TOOL,
            "retriever": K.RETRIEVER,
            "embedding": K.EMBEDDING,
            "reranker": K.RERANKER,
            "guardrail": K.GUARDRAIL,
            "evaluator": K.EVALUATOR,
        }
    },
)

PLAIN = Dialect(
    name="otlp",
    signs=(),
    columns={
        "session_id": ("session.id",),
        "user_id": ("user.id", "enduser.id"),
        "input": ("input", "question", "prompt"),
        "output": ("output", "answer", "response", "completion"),
        "model": ("model", "llm.model"),
        "release": ("resource:service.version",),
        "environment": ("resource:deployment.environment.name", "resource:deployment.environment"),
        "error": ("exception.message", "error.message", "error.type"),
    },
)

DIALECTS: tuple[Dialect, ...] = (WORKBENCH, LANGFUSE, OPENINFERENCE, OTEL_GENAI, TRACELOOP, MLFLOW)
"""In order of who speaks first. PLAIN speaks last, on every span."""


def dialects_of(names: Mapping[str, object], event_names: frozenset[str] = frozenset()) -> tuple[Dialect, ...]:
    """The dialects that a span with these attribute and event names speaks, first to last, ending with PLAIN."""
    spoken = [
        dialect
        for dialect in DIALECTS
        if any(name.startswith(dialect.signs) for name in names)
        or any(name in dialect.message_events or name in dialect.carriers for name in event_names)
    ]
    return (*spoken, PLAIN)
