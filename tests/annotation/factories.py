"""Traces, queues and annotators for the tests of annotation and datasets."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from workbench.annotation.models import Queue, QueueItem
from workbench.bootstrap import Services
from workbench.core.ids import new_id
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces.models import Trace

START = datetime(2026, 9, 1, 12, tzinfo=UTC)


def make_trace(services: Services, project: Project, number: int = 1, **fields: Any) -> str:
    """A stored trace; returns its trace id. Each number asks something else, a day later."""
    trace = Trace(
        **{
            "project_id": project.id,
            "trace_id": f"{number:032x}",
            "session_id": f"session-{number}",
            "user_id": f"user-{number}",
            "started_at": START + timedelta(days=number),
            "input": f"Question number {number}: what is the fee of product {number}?",
            "output": f"The fee of product {number} is unknown.",
            "language": "en",
            "model": "gemma3-270m",
            "documents": [{"id": f"fees-{number}", "title": "Fees", "score": 0.8, "content": f"Product {number}: 3 euro."}],
            **fields,
        }
    )
    with services.context.trace_unit_of_work(local_administrator()) as work:
        work.add(trace)
    return trace.trace_id


def make_queue(
    services: Services, project: Project, traces: int | Sequence[str] = 3, **settings: Any
) -> tuple[Queue, list[QueueItem]]:
    """A queue with so many fresh traces, or with these."""
    if isinstance(traces, int):
        traces = [make_trace(services, project, number) for number in range(1, traces + 1)]
    admin = local_administrator()
    queue = services.annotation.create_queue(admin, project.id, name=f"Queue {new_id()}", **settings)
    return queue, services.annotation.add_items(admin, queue.id, traces)
