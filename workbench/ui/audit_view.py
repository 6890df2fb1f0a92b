"""The audit page's parts: how the chain is, the list of acts, one act in full, and the export."""

import io
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import streamlit as st

from workbench.audit.events import Event
from workbench.audit.queries import AuditQueries, EventFilter
from workbench.audit.sentences import act_words, changed, kind_words, sentence, shown
from workbench.audit.status import SealerState
from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.errors import NotFound, WorkbenchError
from workbench.identity.policy import allowed
from workbench.identity.queries import names_of
from workbench.ui import audit_filters as filters
from workbench.ui import page
from workbench.ui.guard import Visit

PAGE = 50
"""Events on one page."""
CSV_LIMIT = 50_000
"""Most events in a CSV of what is shown; the export holds all."""

_STATES = {
    SealerState.SEALING: ("sealing", "green"),
    SealerState.PASSIVE: ("another process seals", "blue"),
    SealerState.FAILING: ("not sealing", "red"),
    SealerState.STOPPED: ("stopped", "orange"),
}


def chain(visit: Visit, newest_shown: int | None) -> None:
    """How the chain is: sealed, waiting, under a checkpoint; and the button that verifies it."""
    with st.container(border=True):
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            _live_state(visit, newest_shown)
        with right, st.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Verify now", key="audit_verify", type="primary"):
                _verify(visit)
            _exports(visit)
        _verified()


@st.fragment(run_every=3)
def _live_state(visit: Visit, newest_shown: int | None) -> None:
    queries = visit.services.audit.queries
    sealer = queries.sealer
    state = sealer.status if sealer else None
    label, colour = _STATES[state.state] if state else ("this process does not seal", "orange")
    waiting, _ = queries.waiting()
    checkpoint = queries.latest_checkpoint()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(label, color=colour)  # type: ignore[arg-type]
        size = queries.size()
        words = [f"**{size:,}** {'event' if size == 1 else 'events'} in the chain"]
        words.append(f"checkpoint over **{checkpoint.size:,}**" if checkpoint else "no checkpoint kept yet")
        if waiting:
            words.append(f"**{waiting:,}** waiting to be sealed")
        st.markdown(" · ".join(words))
    if state and state.state is SealerState.FAILING:
        st.error(page.escape_markdown(state.detail))
    if newest_shown is not None:
        fresh = queries.count(visit.actor, filters.read().wanted, after=newest_shown)
        if fresh and st.button(f"Show {page.count(fresh, 'newer event')}", key="audit_newer", type="tertiary"):
            st.session_state.pop("audit_top", None)
            filters.go(before=None)
            st.rerun()


def _verify(visit: Visit) -> None:
    try:
        with st.spinner("Walking every event, hash and signature…"):
            st.session_state["audit_report"] = (visit.services.audit.verify(visit.actor), now())
    except WorkbenchError as error:
        page.failure(error)


def _verified() -> None:
    if "audit_report" not in st.session_state:
        return
    report, at = st.session_state["audit_report"]
    lines = [page.escape_markdown(f"{report.sentence()} ({page.moment(at)})")]
    lines += [page.escape_markdown(note) for note in report.notes]
    if report.ok:
        st.success("  \n".join([*lines, f"Merkle root `{report.root}`"]))
    else:
        lines.append("Keep the ledger folder as it is, export it as evidence, and restore it from a backup.")
        st.error("  \n".join(lines))


def acts(visit: Visit, events: list[Event], total: int, before: int | None) -> None:
    """The list of acts, newest first; a selected row opens in the address."""
    names = _subject_names(visit, events)
    frame = pd.DataFrame(
        {
            "No.": [event.seq for event in events],
            "When (UTC)": [event.at for event in events],
            "What happened": [sentence(event, names) for event in events],
            "Why": [event.reason for event in events],
        }
    )
    opened = filters.read().event
    rows = [index for index, event in enumerate(events) if event.seq == opened]
    key = f"audit_acts_{events[0].seq}_{events[-1].seq}"

    def select() -> None:
        chosen = st.session_state[key]["selection"]["rows"]
        filters.open_event(events[chosen[0]].seq if chosen else None)

    st.dataframe(
        frame,
        hide_index=True,
        height=min(38 + 35 * len(events), 640),
        column_config={
            "No.": st.column_config.NumberColumn(width=60, format="localized"),
            "When (UTC)": st.column_config.DatetimeColumn(width=150, format="D MMM YYYY HH:mm:ss", timezone="UTC"),
            "What happened": st.column_config.TextColumn(width="large"),
            "Why": st.column_config.TextColumn(width="medium"),
        },
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows}},
        on_select=select,
        key=key,
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Newest", key="audit_newest", disabled=before is None, on_click=_newest)
        st.button("Older", key="audit_older", disabled=total <= len(events), on_click=_older, args=(events[-1].seq,))
        st.caption(
            f"{page.count(len(events), 'event')} shown of {total:,} " + ("from here on back" if before else "that match")
        )


def _newest() -> None:
    st.session_state.pop("audit_top", None)
    filters.go(before=None)


def _older(last: int) -> None:
    filters.go(before=last)


def details(visit: Visit, seq: int) -> None:
    """One act in full: who, what, when, why, old and new values, hashes and the proof that it is in the ledger."""
    queries = visit.services.audit.queries
    try:
        event = queries.event(visit.actor, seq)
    except NotFound as error:
        page.failure(error)
        return
    with st.container(border=True):
        head, close = st.columns([9, 1])
        with head:
            st.caption(f"Event {event.seq:,} · {act_words(event.type)}")
            page.plain(sentence(event, _subject_names(visit, [event])))
        with close:
            st.button("✕", key="audit_close", type="tertiary", help="Close", on_click=filters.open_event, args=(None,))
        page.facts(_facts(visit, event))
        if event.details:
            st.markdown("**What changed**")
            page.facts({name.replace("_", " "): _detail(value) for name, value in sorted(event.details.items())})
        _membership(queries, visit, event)
        with st.container(horizontal=True):
            st.button(
                "All about this subject",
                key="audit_about",
                on_click=_only,
                kwargs={"subject": event.subject_id},
                type="tertiary",
            )
            st.button("All by this person", key="audit_by", on_click=_only, kwargs={"person": event.actor_id}, type="tertiary")


def _only(**values: str) -> None:
    st.session_state.pop("audit_top", None)
    filters.only(**values)


def _facts(visit: Visit, event: Event) -> dict[str, str]:
    projects = {project.id: project.name for project in visit.projects}
    kind = "" if event.actor_kind == "person" else f" ({event.actor_kind})"
    return {
        "Who": f"{event.actor_name}{kind}",
        "When": f"{event.at:%-d %B %Y %H:%M:%S} UTC",
        "Your time": _local(event.at),
        "Why": event.reason or "no reason was asked for",
        "Subject": f"{kind_words(event.subject_kind)} {event.subject_id}",
        "Project": projects.get(event.project_id or "", event.project_id or "none"),
        "Act": event.type,
        "Event id": event.event_id,
        **({"Command id": event.command_id} if event.command_id else {}),
    }


def _local(at: datetime) -> str:
    name = st.context.timezone or "UTC"
    try:
        return f"{at.astimezone(ZoneInfo(name)):%-d %B %Y %H:%M:%S} ({name})"
    except (ZoneInfoNotFoundError, ValueError):
        return f"{at:%-d %B %Y %H:%M:%S} (UTC)"


def _detail(value: Any) -> str:
    """A value in full where it is short enough to read; hashes are never cut here."""
    if isinstance(value, dict):
        return changed(value) or ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return (
            ", ".join(str(item) for item in value[:20]) + (f" and {len(value) - 20} more" if len(value) > 20 else "") or "none"
        )
    return "none" if value in (None, "") else str(value)


def _membership(queries: AuditQueries, visit: Visit, event: Event) -> None:
    inclusion = queries.inclusion(visit.actor, event.seq)
    st.markdown("**In the chain**")
    if inclusion is None:
        st.badge("not under a signed checkpoint yet", color="orange")
    elif not inclusion.holds:
        st.badge("this event is NOT the one that was signed", color="red")
        st.caption("Use Verify now, and tell whoever runs this workbench.")
    elif inclusion.kept:
        st.badge(f"included in checkpoint {inclusion.checkpoint.size:,}", color="green")
    else:
        st.badge(f"included in the signed head over {inclusion.checkpoint.size:,} events", color="green")
    page.facts(
        {
            "Its hash": event.leaf.hex(),
            "Hash before": event.prev_hash,
            **({"Signed root": inclusion.checkpoint.root.hex(), "Ledger": inclusion.checkpoint.origin} if inclusion else {}),
        }
    )
    with st.expander("Proof and exact bytes"):
        if inclusion is not None:
            tree = f"a tree of {inclusion.checkpoint.size:,}"
            hashes = page.count(len(inclusion.proof), "hash leads", "hashes lead")
            st.caption(f"From leaf {event.seq - 1:,} of {tree}, {hashes} to the signed root (RFC 6962).")
            st.code(
                "\n".join(node.hex() for node in inclusion.proof) or "(a tree of one leaf needs none)",
                language=None,
                wrap_lines=True,
            )
        st.caption("The canonical bytes (RFC 8785) that were hashed:")
        st.code(event.to_bytes().decode(), language=None, wrap_lines=True)


def _exports(visit: Visit) -> None:
    with st.popover("Export", key="audit_export_menu"):
        wanted = filters.read().wanted
        st.download_button(
            "Events as filtered, CSV",
            data=lambda: _csv(visit, wanted),
            file_name="audit-events.csv",
            mime="text/csv",
            on_click="ignore",
            key="audit_csv",
        )
        st.download_button(
            "Latest checkpoint, to keep elsewhere",
            data=visit.services.audit.queries.head_note() or "No event has been sealed yet.\n",
            file_name="head.checkpoint",
            mime="text/plain",
            on_click="ignore",
            key="audit_head",
        )
        st.divider()
        if not allowed(visit.actor, Permission.READ_AUDIT, None):
            st.caption("The whole ledger holds every project; exporting it takes the role of auditor in all of them.")
            return
        st.caption("The whole ledger with a verifier that needs nothing of ours. The export itself goes on record.")
        reason = st.text_input("What is it for?", key="audit_export_reason", placeholder="such as: yearly audit 2026")
        if st.button("Prepare", key="audit_export_prepare", disabled=not reason.strip()):
            with page.acting(), st.spinner("Copying, verifying and packing…"):
                archive, exported = visit.services.audit.export_archive(visit.actor, reason=reason)
                st.session_state["audit_archive"] = (archive.name, archive.read_bytes(), exported.report.sentence())
                archive.unlink()
        if "audit_archive" in st.session_state:
            name, data, said = st.session_state["audit_archive"]
            st.download_button(
                f"Download {name}",
                data=data,
                file_name=name,
                mime="application/zip",
                on_click="ignore",
                key="audit_archive_file",
            )
            page.plain(said, muted=True)


def _csv(visit: Visit, wanted: EventFilter) -> bytes:
    from workbench.audit.export import write_csv

    file = io.StringIO(newline="")
    write_csv(visit.services.audit.queries.page(visit.actor, wanted, limit=CSV_LIMIT), file)
    return file.getvalue().encode("utf-8-sig")


def _subject_names(visit: Visit, events: list[Event]) -> dict[str, str]:
    """Names of the people that acts are about."""
    people = {event.subject_id for event in events if event.subject_kind == "person"}
    if not people:
        return {}
    with visit.read() as session:
        return names_of(session, people)
