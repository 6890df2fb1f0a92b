"""The gateway's own traces, written off the response path and yet never lost.

Before an answer leaves, it lies in a file below `run/answers/`; a thread stores it as a trace and then removes the file. What a
crash leaves behind is stored at the next start.
"""

import json
import logging
import os
import threading
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.core.actors import Permission, process_actor
from workbench.core.clock import from_iso
from workbench.core.errors import InvalidInput, NotFound, WorkbenchError
from workbench.core.runtime_client import Classified
from workbench.core.unit_of_work import Context
from workbench.serving.ports import Runtime
from workbench.traces.answers import LoggedAnswer
from workbench.traces.queries import get_trace
from workbench.traces.service import TraceService

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
GATEWAY = process_actor("gateway", Permission.USE_GATEWAY, Permission.INGEST_TRACES)


class AnswerLog:
    """Stores answers as traces on a thread of its own."""

    def __init__(self, context: Context, traces: TraceService, runtime: Runtime) -> None:
        self._context, self._traces, self._runtime = context, traces, runtime
        self._folder = context.settings.folder("run") / "answers"
        self._folder.mkdir(exist_ok=True)
        self._waiting: deque[Path] = deque(sorted(self._folder.glob("*.json")))
        self._left_over = set(self._waiting)
        self._changed = threading.Condition()
        self._closed = False
        self.failures = 0
        """Tries that failed since the start; the files stay and are tried again."""
        self._thread = threading.Thread(target=self._work, name="answer-log", daemon=True)
        self._thread.start()

    def put(self, project_id: str, answer: LoggedAnswer, *, triage_adapter: str | None = None) -> None:
        """Keep an answer, to be stored as a trace at once but not in the caller's time.

        Args:
            triage_adapter: also note which team the question belongs to by this adapter.
        """
        value = {
            "project_id": project_id,
            "triage_adapter": triage_adapter,
            "answer": {**asdict(answer), "started_at": answer.started_at.isoformat(), "cost": None},
        }
        name = f"{answer.started_at.timestamp():.6f}-{answer.trace_id}-{os.urandom(3).hex()}"
        temporary, path = self._folder / f".{name}.tmp", self._folder / f"{name}.json"
        temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        temporary.rename(path)
        with self._changed:
            self._waiting.append(path)
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Answers that are no traces yet."""
        return len(self._waiting)

    def close(self, seconds: float = 5.0) -> None:
        """Store what waits, for so long at most; the rest stays in its files."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                path = self._waiting[0]
            if self._store(path):
                with self._changed:
                    self._waiting.popleft()
            else:
                with self._changed:
                    if self._closed:
                        return
                    self._waiting.rotate(-1)  # others first: one bad answer must not hold them up
                    self._changed.wait(RETRY_SECONDS)

    def _store(self, path: Path) -> bool:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            answer = LoggedAnswer(**{**value["answer"], "started_at": from_iso(value["answer"]["started_at"])})
            if not (path in self._left_over and self._is_stored(value["project_id"], answer.trace_id)):
                self._traces.log_answer(
                    GATEWAY, value["project_id"], _with_triage(answer, self._classify(answer, value["triage_adapter"]))
                )
        except (ValueError, TypeError, KeyError, InvalidInput) as error:
            # It can never become a trace. The file is kept beside the others, for a person to look at.
            self.failures += 1
            log.error("the answer in %s cannot be stored as a trace: %s", path.name, str(error)[:200])
            path.rename(path.with_suffix(".unreadable"))
            return True
        except Exception as error:
            self.failures += 1
            log.warning("an answer is not stored as a trace yet: %s: %s", type(error).__name__, str(error)[:200])
            return False
        path.unlink(missing_ok=True)
        return True

    def _is_stored(self, project_id: str, trace_id: str) -> bool:
        with self._context.database.session() as session:
            try:
                get_trace(session, project_id, trace_id)
            except NotFound:
                return False
            return True

    def _classify(self, answer: LoggedAnswer, adapter: str | None) -> Classified | None:
        if adapter is None or answer.status == "error":
            return None
        try:
            return self._runtime.classify([answer.question], adapter)[0]
        except WorkbenchError as error:
            log.info("a gateway trace has no triage label: %s", error)
            return None


def _with_triage(answer: LoggedAnswer, found: Classified | None) -> LoggedAnswer:
    if found is None:
        return answer
    values: dict[str, Any] = {**answer.__dict__, "triage_label": found.label}
    values["attributes"] = {**answer.attributes, "workbench.triage_score": round(found.score, 4)}
    return LoggedAnswer(**values)
