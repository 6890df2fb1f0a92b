"""Masking on the way in: what is stored of a text has placeholders where personal data stood.

It takes two steps. Before the write lock is held, a `Draft` replaces what it finds by marks of its own; within the transaction
the marks become placeholders such as `<PHONE_2>`, numbered so that one value has one number in all of a trace, whenever and
in whatever request it comes (`numbering.py`). A transaction that is tried again starts from the marks again.
"""

import json
import os
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.traces.decoded import Decoded, Rejection, Source, SpanData
from workbench.traces.masking.marker import Marker
from workbench.traces.masking.names import person_in
from workbench.traces.masking.policy import Originals
from workbench.traces.masking.quick_look import is_worth_a_look
from workbench.traces.models import Feedback


@dataclass
class Draft(Marker):
    """Texts of one request, masked but for the numbers."""

    _fields: list[tuple[Any, str, Any]] = field(default_factory=list)
    """Object, name of its field, and the value with marks in it."""

    def spans(self, decoded: Decoded) -> None:
        """Mask a request's spans, their sources and what was rejected of it."""
        if not self.policy.types:
            return
        renamed = self._sources(decoded)
        for span in decoded.spans:
            span.source_id = renamed.get(span.source_id, span.source_id)
            self._span(span)
        for rejection in decoded.rejected:
            self._rejection(rejection)

    def feedback(self, row: Feedback) -> None:
        """Mask a signal; about a trace it shares the trace's numbers."""
        if not self.policy.types:
            return
        row.user_id = self.identity(row.user_id)
        if row.session_id:
            row.session_id = self.identity(row.session_id)
        scope = row.trace_id or f"session:{row.session_id}"
        for name in ("text", "name"):
            self._keep(row, name, self.masked_text(getattr(row, name), scope, row.user_id))

    def fill(self, names: list[str]) -> None:
        """Put placeholders where the marks are.

        Args:
            names: one for each of `found`, such as `<EMAIL_1>`.
        """
        for owner, name, template in self._fields:
            setattr(owner, name, self.filled(template, names))

    def _keep(self, owner: Any, name: str, value: Any) -> None:
        """Set a field with its marks, and again with placeholders when the numbers are known."""
        if value is not getattr(owner, name):
            setattr(owner, name, value)  # nothing unmasked is left, even if nobody fills in the numbers
            self._fields.append((owner, name, value))

    def _span(self, span: SpanData) -> None:
        self.mask_identities(span.attributes)
        if not is_worth_a_look(
            self.detectors, span.attributes, span.name, span.status_message, span.events, span.links, span.extra
        ):
            return
        person = person_in(span.attributes)
        for name in ("name", "status_message"):
            self._keep(span, name, self.masked_text(getattr(span, name), span.trace_id, person))
        self._keep(span, "attributes", self.masked_attributes(span.attributes, span.trace_id, person))
        for event in span.events:
            self.mask_identities(event.get("attributes"))
        for name in ("events", "links", "extra"):
            if getattr(span, name):
                self._keep(span, name, self.masked_value(getattr(span, name), span.trace_id, person, ""))

    def _sources(self, decoded: Decoded) -> dict[str, str]:
        """Mask resources and scopes; returns old id → new id. Many traces share one, so no trace's numbers are used."""
        renamed = {}
        for source in list(decoded.sources.values()):
            if not is_worth_a_look(self.detectors, source.resource, source.scope):
                continue
            plain = Marker(replace(self.policy, originals=Originals.NOT_KEPT.value), self.project_id, self.key)
            resource = dict(source.resource)
            plain.mask_identities(resource)
            resource = plain.masked_attributes(resource, "source", None)
            scope = plain.masked_value(source.scope, "source", None, "")
            names = [f"<{one.kind}_{one.digest[:12]}>" for one in plain.found]
            resource, scope = plain.filled(resource, names), plain.filled(scope, names)
            if resource == source.resource and scope == source.scope:
                continue
            made = hash_bytes(json.dumps([resource, scope], sort_keys=True, ensure_ascii=True).encode())
            decoded.sources.pop(source.id)
            decoded.sources[made] = Source(made, resource, scope)
            renamed[source.id] = made
        return renamed

    def _rejection(self, rejection: Rejection) -> None:
        scope = rejection.trace_id or "rejected:" + os.urandom(8).hex()
        self._keep(rejection, "reason", self.masked_text(rejection.reason, scope, None))
        for name in ("name", "trace_id", "span_id"):
            if given := getattr(rejection, name):
                self._keep(rejection, name, self.masked_text(given, scope, None))
        if rejection.raw is not None:
            self._keep(rejection, "raw", self.masked_value(rejection.raw, scope, None, ""))
