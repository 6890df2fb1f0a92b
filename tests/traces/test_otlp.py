"""Decoding OTLP, whole and hostile."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traces.factories import START, any_value, body, protobuf, request, span
from workbench.core.errors import InvalidInput
from workbench.traces.otlp import decode
from workbench.traces.otlp_json import decode_json
from workbench.traces.otlp_protobuf import decode_protobuf

texts = st.text(max_size=20).filter(lambda text: "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text))
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(texts, values, max_size=6),
    texts,
    st.lists(st.tuples(texts, st.dictionaries(texts, values, max_size=2)), max_size=2),
)
def test_protobuf_and_json_of_one_request_decode_to_the_same_spans(
    given_attributes: dict[str, Any], name: str, events: list[tuple[str, dict[str, Any]]]
) -> None:
    document = request(span(given_attributes, name=name, parent="00000000000000aa", error="it broke", events=events))
    from_json = decode_json(json.loads(json.dumps(document)), received_ns=1)
    from_protobuf = decode_protobuf(protobuf(document), received_ns=1)
    assert from_json.spans == from_protobuf.spans
    assert from_json.sources == from_protobuf.sources
    assert from_json.spans[0].attributes == given_attributes
    assert from_json.spans[0].status_message == "it broke"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "resourceSpans",
                        "scopeSpans",
                        "spans",
                        "resource",
                        "attributes",
                        "key",
                        "value",
                        "traceId",
                        "spanId",
                        "stringValue",
                        "intValue",
                        "arrayValue",
                        "values",
                        "kvlistValue",
                        "status",
                        "events",
                        "links",
                        "x",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=25,
    )
)
def test_any_json_is_decoded_or_refused_with_a_reason(document: Any) -> None:
    try:
        found = decode_json(document, received_ns=1)
    except InvalidInput:
        return  # refused as a whole, by the one error that an api answers with 400
    assert all(rejection.reason for rejection in found.rejected)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for content_type in ("application/json", "application/x-protobuf"):
        with contextlib.suppress(InvalidInput):  # anything else fails the test
            decode(data, content_type, received_ns=1)


def test_a_bad_span_is_rejected_and_its_neighbours_are_kept() -> None:
    good = span({"a": 1})
    found = decode_json(request(span(trace_id="0" * 32), good, span(span_id="zz"), {"traceId": 7}), received_ns=1)
    assert [one.span_id for one in found.spans] == [good["spanId"]]
    assert ["trace id" in rejection.reason or "span id" in rejection.reason for rejection in found.rejected] == [True] * 3
    assert found.rejected[0].raw is not None
    assert found.rejected[0].name == "step"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
        ({"startTimeUnixNano": -5}, "startTimeUnixNano"),
        ({"endTimeUnixNano": str(2**64)}, "2262"),
        ({"attributes": {"a": 1}}, "attributes"),
        ({"attributes": [{"key": "n", "value": {"intValue": "9" * 30}}]}, "64 bits"),
        ({"attributes": [{"key": "n", "value": {"doubleValue": "much"}}]}, "doubleValue"),
        ({"events": ["x"]}, "events"),
    ],
)
def test_a_span_with_a_wrong_field_is_rejected_with_the_field_in_the_reason(change: dict[str, Any], reason: str) -> None:
    found = decode_json(request({**span(), **change}), received_ns=1)
    assert not found.spans
    assert reason in found.rejected[0].reason


def test_times_that_are_missing_or_backward_do_not_lose_the_span() -> None:
    backward = {**span(), "startTimeUnixNano": str(START), "endTimeUnixNano": str(START - 5)}
    missing = {key: value for key, value in span().items() if "Time" not in key}
    first, second = decode_json(request(backward, missing), received_ns=77).spans
    assert (first.started_ns, first.ended_ns) == (START, START)
    assert (second.started_ns, second.ended_ns) == (77, 77)


def test_integers_come_as_strings_or_numbers_and_ids_in_either_case() -> None:
    given_span = {**span(), "startTimeUnixNano": START, "endTimeUnixNano": str(START + 1), "traceId": "AB" * 16}
    decoded = decode_json(request(given_span), received_ns=1).spans[0]
    assert (decoded.started_ns, decoded.ended_ns, decoded.trace_id) == (START, START + 1, "ab" * 16)


def test_text_that_a_database_cannot_store_is_made_storable() -> None:
    raw = body(span({"k": "a\x00b"}, name="x")).replace(b'"x"', b'"\\ud800x"')
    decoded = decode(raw, "application/json", received_ns=1).spans[0]
    assert decoded.attributes["k"] == "a\ufffdb"
    decoded.name.encode()


def test_numbers_that_json_lacks_are_kept_by_name() -> None:
    document = request(span({"n": math.nan, "i": math.inf, "m": -math.inf}))
    assert decode_protobuf(protobuf(document), received_ns=1).spans[0].attributes == {
        "n": {"doubleValue": "NaN"},
        "i": {"doubleValue": "Infinity"},
        "m": {"doubleValue": "-Infinity"},
    }


def test_unknown_fields_are_ignored() -> None:
    document = request({**span(), "somethingNew": {"a": 1}})
    document["resourceSpans"][0]["entityRefs"] = []
    assert len(decode_json(document, received_ns=1).spans) == 1


def test_an_attribute_nested_without_end_rejects_its_span_only() -> None:
    deep: Any = 1
    for _ in range(80):
        deep = [deep]
    document = request(span(), span())
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = [{"key": "deep", "value": any_value(deep)}]
    found = decode_json(document, received_ns=1)
    assert len(found.spans) == 1
    assert "deeper" in found.rejected[0].reason
