"""Langfuse exports: traces, observations and scores, as its pages (CSV, JSON, JSONL) and its public API give them.

A trace row becomes a root span, an observation a span below it, a score feedback. Exports flatten scores into a column a name,
whose cells are lists.

Source: Langfuse's batch exports of the tables Traces and Observations, `GET /api/public/traces`, `/observations`,
`/v2/observations`, `/scores`, and the JSON that the page of one trace or session downloads.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.foreign_scores import feedback_of_score, span_id_of, trace_id_of
from workbench.traces.importers.building import Piece, hashed, moment_ns, number_of, said, source_of, span_of

_TRACE = {
    "id", "timestamp", "name", "userId", "user_id", "sessionId", "session_id", "release", "version", "environment", "tags",
    "bookmarked", "public", "input", "output", "metadata", "latency", "usage", "usageDetails", "costDetails", "inputCost",
    "outputCost", "totalCost", "level", "errorCount", "warningCount", "defaultCount", "debugCount", "observationCount",
    "inputTokens", "outputTokens", "totalTokens", "promptTokens", "completionTokens", "projectId", "project_id", "htmlPath",
    "createdAt", "updatedAt", "externalId", "comments", "observations", "scores",
}  # fmt: skip
_OBSERVATION = _TRACE | {
    "traceId", "trace_id", "type", "startTime", "endTime", "completionStartTime", "model", "modelParameters", "statusMessage",
    "parentObservationId", "promptId", "promptName", "promptVersion", "modelId", "internalModelId", "inputPrice", "outputPrice",
    "totalPrice", "calculatedInputCost", "calculatedOutputCost", "calculatedTotalCost", "timeToFirstToken", "latencyPerToken",
    "unit", "traceName", "traceTags", "traceTimestamp", "providedModelName", "internalModel", "providedUsageDetails",
    "providedCostDetails", "usagePricingTierName", "usagePricingTierId", "isRootObservation", "toolDefinitions", "toolCalls",
    "toolCallNames", "toolDefinitionsCount", "toolCallsCount",
}  # fmt: skip


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether an object or a header is of a Langfuse export."""
    names = set(value)
    inner = value.get("data")
    if isinstance(inner, list) and inner and isinstance(inner[0], Mapping):
        return looks_like(inner[0])
    return (
        ("traceId" in names and bool(names & {"startTime", "dataType", "observationId", "parentObservationId"}))
        or ("observations" in names and bool(names & {"trace", "timestamp", "id"}))
        or ("traces" in names and "id" in names)
        or ("timestamp" in names and len(names & {"userId", "sessionId", "bookmarked", "htmlPath", "observationCount"}) >= 2)
    )


class LangfuseReader:
    """Reads the records of one export."""

    def read(self, number: int, value: Any) -> Piece:
        """One row, one object, or one page of the API.

        Raises:
            InvalidInput: it is none of Langfuse's objects.
        """
        piece = Piece()
        if not isinstance(value, Mapping):
            raise InvalidInput("This is no object of a Langfuse export.")
        for one in _objects(value):
            self._take(piece, one)
        return piece

    def finish(self) -> list[tuple[int, str]]:
        """Nothing waits."""
        return []

    def _take(self, piece: Piece, row: Mapping[str, Any]) -> None:
        row = {name: _cell(value) for name, value in row.items()}
        if ("dataType" in row or "stringValue" in row or "observationId" in row) and "startTime" not in row and "name" in row:
            score = {**row, "id": row.get("id") or hashed(json.dumps(row, sort_keys=True, default=str), 32)}
            piece.feedback.append(feedback_of_score(score))
        elif "startTime" in row and (row.get("traceId") or row.get("trace_id")):
            self._observation(piece, row)
        elif said(row.get("id")) and said(row.get("timestamp")):
            self._trace(piece, row)
        else:
            raise InvalidInput("This is neither a trace (id, timestamp) nor an observation (traceId, startTime) nor a score.")

    def _trace(self, piece: Piece, row: Mapping[str, Any]) -> None:
        trace_id = trace_id_of(row["id"])
        started = moment_ns(row["timestamp"]) or 1
        seconds = number_of(row.get("latency")) or 0.0
        attributes = {
            **_about(row),
            "langfuse.observation.type": "span",
            "langfuse.trace.name": row.get("name"),
            "langfuse.trace.input": row.get("input"),
            "langfuse.trace.output": row.get("output"),
            "langfuse.trace.tags": row.get("tags"),
            "langfuse.observation.usage_details": _usage(row),  # counted only where no observation below says it
            "langfuse.observation.cost_details": _costs(row),
            **_metadata("langfuse.trace.metadata", row.get("metadata")),
        }
        piece.decoded.spans.append(
            span_of(
                trace_id=trace_id, span_id=root_span_id(row["id"]), source_id=source_of(piece.decoded, "langfuse"),
                name=str(row.get("name") or "trace"), started_ns=started, ended_ns=started + int(min(seconds, 1e9) * 1e9),
                attributes=attributes, error="" if row.get("level") == "ERROR" else None,
            )
        )  # fmt: skip
        piece.feedback += _flattened(row, _TRACE, trace_id, None)
        for one in _listed(row.get("observations")):
            self._take(piece, {"traceId": row["id"], **one})
        piece.feedback += [feedback_of_score(one, trace_id=str(row["id"])) for one in _listed(row.get("scores"))]

    def _observation(self, piece: Piece, row: Mapping[str, Any]) -> None:
        given = row.get("traceId") or row.get("trace_id")
        trace_id = trace_id_of(given)
        if not said(row.get("id")):
            raise InvalidInput("The observation has no id.")
        started = moment_ns(row["startTime"])
        if started is None:
            raise InvalidInput("The observation has no startTime.")
        parent = row.get("parentObservationId")
        first, seconds = moment_ns(row.get("completionStartTime")), number_of(row.get("timeToFirstToken"))
        attributes = {
            **_about(row),
            "langfuse.trace.name": row.get("traceName"),
            "langfuse.trace.tags": row.get("traceTags") or row.get("tags"),
            "langfuse.observation.type": str(row.get("type") or "span").lower(),
            "langfuse.observation.input": row.get("input"),
            "langfuse.observation.output": row.get("output"),
            "langfuse.observation.level": row.get("level"),
            "langfuse.observation.status_message": row.get("statusMessage"),
            "langfuse.observation.model.name": row.get("model") or row.get("providedModelName"),
            "langfuse.observation.model.parameters": row.get("modelParameters"),
            "langfuse.observation.prompt.name": row.get("promptName"),
            "langfuse.observation.prompt.version": row.get("promptVersion"),
            "langfuse.observation.usage_details": _usage(row),
            "langfuse.observation.cost_details": _costs(row),
            "langfuse.observation.completion_start_time": row.get("completionStartTime"),
            "workbench.first_token_ms": (first - started) / 1e6 if first else _milliseconds(seconds),
            **_metadata("langfuse.observation.metadata", row.get("metadata")),
        }
        span_id = span_id_of(row["id"])
        piece.decoded.spans.append(
            span_of(
                trace_id=trace_id, span_id=span_id, source_id=source_of(piece.decoded, "langfuse"),
                parent=span_id_of(parent) if said(parent) else root_span_id(given), name=str(row.get("name") or "observation"),
                started_ns=started, ended_ns=moment_ns(row.get("endTime")), attributes=attributes,
                error=str(row.get("statusMessage") or "") if row.get("level") == "ERROR" else None,
            )
        )  # fmt: skip
        piece.feedback += _flattened(row, _OBSERVATION, trace_id, span_id)
        piece.feedback += [
            feedback_of_score({"observationId": row["id"], **one}, trace_id=str(given)) for one in _listed(row.get("scores"))
        ]


def root_span_id(trace: Any) -> str:
    """The span that stands for a Langfuse trace itself."""
    return hashed(f"langfuse-trace:{trace_id_of(trace)}", 16)


def _objects(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Pages of the API, downloads of one trace and of one session, taken apart."""
    data = value.get("data")
    if isinstance(data, list):
        for one in data:
            yield from _objects(_object(one))
    elif isinstance(value.get("trace"), Mapping) and isinstance(value.get("observations"), list):
        scores = value.get("scores") or value["trace"].get("scores")
        yield {**value["trace"], "observations": value["observations"], "scores": scores}
    elif isinstance(value.get("traces"), list):
        for one in value["traces"]:
            yield {"sessionId": value.get("id"), **_object(one)}
    else:
        yield value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput("A list of traces or observations holds something that is no object.")
    return value


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; lists of ids, as the API gives them, say nothing more."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _cell(value: Any) -> Any:
    """CSV cells hold JSON where the value was no text."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("{", "[", '"'):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return value
    return value


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "langfuse.user.id": row.get("userId") or row.get("user_id"),
        "langfuse.session.id": row.get("sessionId") or row.get("session_id"),
        "langfuse.environment": row.get("environment"),
        "langfuse.release": row.get("release"),
        "langfuse.version": row.get("version"),
    }


def _metadata(prefix: str, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {f"{prefix}.{key}": value for key, value in given.items()}
    return {prefix: given}


def _usage(row: Mapping[str, Any]) -> dict[str, Any] | None:
    details = row.get("usageDetails")
    if isinstance(details, Mapping) and details:
        return dict(details)
    usage = row.get("usage") if isinstance(row.get("usage"), Mapping) else {}
    assert isinstance(usage, Mapping)
    found = {
        "input": _first(usage.get("input"), usage.get("promptTokens"), row.get("inputTokens"), row.get("promptTokens")),
        "output": _first(
            usage.get("output"), usage.get("completionTokens"), row.get("outputTokens"), row.get("completionTokens")
        ),
    }
    numbers = {name: int(number) for name, value in found.items() if (number := number_of(value)) is not None}
    return numbers if any(numbers.values()) else None


def _costs(row: Mapping[str, Any]) -> dict[str, Any] | None:
    details = row.get("costDetails")
    if isinstance(details, Mapping) and details:
        return dict(details)
    total = _first(row.get("totalCost"), row.get("calculatedTotalCost"))
    return {"total": str(total).removeprefix("$")} if number_of(str(total).removeprefix("$")) else None


def _flattened(row: Mapping[str, Any], known: set[str], trace_id: str, span_id: str | None) -> list[dict[str, Any]]:
    """Scores that an export wrote as columns: the name, and a list of numbers or words."""
    found: list[dict[str, Any]] = []
    for name, values in row.items():
        if name in known or not isinstance(values, list) or not values:
            continue
        for place, value in enumerate(values):
            if not isinstance(value, str | int | float):
                continue
            score = {"id": f"{trace_id}:{span_id}:{name}:{place}", "name": name, "value": value, "traceId": trace_id}
            if span_id:
                score["observationId"] = span_id
            found.append(feedback_of_score(score))
    return found


def _first(*values: Any) -> Any:
    return next((value for value in values if said(value)), None)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
