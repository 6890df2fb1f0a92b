"""OTLP trace requests, as protobuf or JSON, decoded into spans."""

import json

from workbench.core.errors import InvalidInput
from workbench.traces.decoded import Decoded, first_line
from workbench.traces.otlp_json import decode_json
from workbench.traces.otlp_protobuf import decode_protobuf


def decode(body: bytes, content_type: str, *, received_ns: int) -> Decoded:
    """Decode a request body.

    Args:
        content_type: `application/x-protobuf` or `application/json`, without parameters.
        received_ns: stands in for a time that a span lacks.

    Raises:
        InvalidInput: the body is not an OTLP trace request at all.
    """
    if content_type == "application/json":
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidInput("The body is not JSON.", why=first_line(error)) from error
        return decode_json(document, received_ns=received_ns)
    return decode_protobuf(body, received_ns=received_ns)
