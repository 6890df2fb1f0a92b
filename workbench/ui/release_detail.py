"""One release: what changes, on which evidence, who made it, and the decision."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.canonical import short_hash
from workbench.core.clock import from_iso
from workbench.core.errors import WorkbenchError
from workbench.evaluation.models import Comparison
from workbench.releases import queries
from workbench.releases.changes import SlotChange, changes_of, components_of
from workbench.releases.manifest import SLOT_NAMES, SLOTS
from workbench.releases.models import PRODUCTION, Approval, Release, ReleaseState
from workbench.releases.separation import why_not
from workbench.releases.signing import decision_holds, manifest_holds
from workbench.releases.verify import LiveRelease, needs_justification
from workbench.ui import links, page, release_live, release_parts, verdict_view
from workbench.ui.guard import Visit


def show(visit: Visit, release: Release, live: LiveRelease | None) -> None:
    """Everything about one release, and what this person may do with it."""
    settings = visit.context.settings
    with visit.read() as session:
        changes = changes_of(session, settings, release)
        proofs = queries.proofs(session, release)
        others = queries.other_comparisons(session, release)
        decisions = queries.decisions(session, release.id)
        reason_not = why_not(session, visit.actor, release)
        spans = queries.live_spans(session, settings, release.id)
    _head(release, live)
    if not manifest_holds(settings, release):
        st.error("The manifest is not the one that was proposed: somebody changed its row. It cannot be approved or served.")
    _acts(visit, release, live, was_live=bool(spans))
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("What changes", anchor=False)
        release_parts.changes_in_words(changes)
        st.subheader("Evidence", anchor=False)
        _evidence(visit, release, proofs, others)
    with right:
        if release.status is ReleaseState.PROPOSED:
            _decide(visit, release, reason_not)
        _decisions(visit, release, decisions)
        st.subheader("Who made it", anchor=False)
        for maker in release.manifest["makers"]:
            page.plain(f"{maker['name']} {maker['did']}")
        if changes.behind:
            st.subheader("Whose answers are in it", anchor=False)
            release_parts.people(changes.behind)
        st.subheader("Receipt", anchor=False)
        page.facts(
            {
                "Manifest": release.manifest_hash,
                "Proposed": page.moment(release.proposed_at),
                "Live": "; ".join(f"{page.moment(a)} to {page.moment(b) if b else 'now'}" for a, b in spans) or "never",
                "May publish": _publish(release),
            }
        )
        release_live.note_button(visit, release)


def _head(release: Release, live: LiveRelease | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        release_parts.badge(release, live.release.id if live else None)
        page.big(release.title)
    page.plain(f"Proposed by {release.proposed_by_name} {page.moment(release.proposed_at)}: “{release.reason}”")
    if despite := release.manifest["despite"]:
        with st.container(border=True):
            st.caption("Why it is proposed all the same")
            page.plain(despite)


def _evidence(visit: Visit, release: Release, proofs: list[queries.Proof], others: list[Comparison]) -> None:
    release_parts.evidence(visit, proofs)
    unproven = release.manifest["unproven"]
    if unproven:
        named = ", ".join(SLOT_NAMES[slot] for slot in SLOTS if slot in unproven)
        page.plain(f"No comparison with what was live speaks for: {named}. Reason given: {next(iter(unproven.values()))}")
    elif not proofs:
        st.caption("No component changed, so no comparison is needed.")
    if others:
        st.caption("Other comparisons of the same candidate, which count for nothing here:")
        for comparison in others:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(str(comparison.verdict), color=verdict_view.COLOURS[str(comparison.verdict)])  # type: ignore[arg-type]
                page.plain(f"against {comparison.incumbent_name or 'another incumbent'}, {page.moment(comparison.finished_at)}")
                links.to("compare", "Open", comparison=comparison.id)


def _decide(visit: Visit, release: Release, reason_not: str | None) -> None:
    with st.container(border=True, key="releases_decide"):
        st.subheader("Your decision", anchor=False)
        if not visit.can(Permission.APPROVE_RELEASE):
            page.plain("A reviewer decides: somebody with that role who made neither the release nor its evidence.", muted=True)
            return
        if reason_not is not None:
            st.info(page.escape_markdown(reason_not))
            st.caption("Another reviewer has to decide. That is how one person alone can never put something live.")
            return
        failed = any(item["verdict"] == "FAIL" for item in release.manifest["evidence"])
        justify = needs_justification(release)
        if failed:
            st.warning("A comparison behind it failed, so it can only be rejected.")
        page.plain(
            f"You sign as {visit.actor.name} what you see here: manifest {short_hash(release.manifest_hash)}. Your signature, "
            "its meaning and the time stay with the release."
        )
        with st.form(f"releases_sign_{release.id}", border=False):
            reason = st.text_area(
                "Your reasons" + (" (needed: a verdict is not PASS, or a slot has no comparison)" if justify else ""),
                key=f"releases_reason_{release.id}",
                help="Needed for a rejection, and for an approval without full evidence.",
                height=90,
            )
            password = st.text_input(
                "Your password", type="password", key=f"releases_password_{release.id}", autocomplete="current-password"
            )
            with st.container(horizontal=True):
                approve = st.form_submit_button(
                    "Approve and sign", type="primary", key=f"releases_approve_{release.id}", disabled=failed
                )
                reject = st.form_submit_button("Reject and sign", key=f"releases_reject_{release.id}")
        if approve or reject:
            _sign(visit, release, approve=approve, reason=reason, password=password)


def _sign(visit: Visit, release: Release, *, approve: bool, reason: str, password: str) -> None:
    service, shown = visit.services.releases, release.manifest_hash
    try:
        with st.spinner("Signing, and waiting for the ledger to seal it…"):
            if approve:
                made = service.approve(visit.actor, release.id, password=password, shown=shown, justification=reason)
            else:
                made = service.reject(visit.actor, release.id, password=password, shown=shown, reason=reason)
    except WorkbenchError as error:
        page.failure(error)
        return
    sealed = f"sealed as event {made.sealed_seq}" if made.sealed_seq else "waiting to be sealed"
    st.toast(f"Signed as {made.approval.meaning}, {sealed}.")
    st.rerun()


def _decisions(visit: Visit, release: Release, decisions: list[Approval]) -> None:
    for decision in decisions:
        holds = decision_holds(visit.context.settings, release, decision)
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(decision.meaning, color="green" if decision.meaning == "approved" else "red")
                page.big(decision.person_name)
            signed_at = decision.signature.get("signed_at")
            when = page.moment(from_iso(signed_at)) if signed_at else "at an unknown time"
            page.plain(f"Signed {when}, meaning: {decision.meaning}.")
            if decision.reason:
                page.plain(f"“{decision.reason}”")
            if holds:
                st.caption(f"Signature verified with key {decision.signature['key_id']}.")
            else:
                st.error("The signature does not hold: this row was changed after it was signed.")
    if release.status is ReleaseState.WITHDRAWN:
        page.plain(f"Withdrawn by {release.withdrawn_by_name} {page.moment(release.decided_at)}: “{release.withdrawn_reason}”")


def _acts(visit: Visit, release: Release, live: LiveRelease | None, *, was_live: bool) -> None:
    is_live = live is not None and live.release.id == release.id
    mine = release.proposed_by == visit.actor.id and visit.can(Permission.PROPOSE_RELEASE)
    with st.container(horizontal=True):
        if release.status is ReleaseState.APPROVED and not is_live and not was_live:
            if visit.can(Permission.PROMOTE_RELEASE):
                if st.button("Promote", type="primary", key=f"releases_promote_{release.id}"):
                    _promote(visit, release, live)
            else:
                st.caption("Approved. An operator promotes it.")
        may_withdraw = not release.status.is_terminal and not is_live and (mine or visit.can(Permission.APPROVE_RELEASE))
        if may_withdraw and st.button("Withdraw", key=f"releases_withdraw_{release.id}"):
            _withdraw(visit, release)


@st.dialog("Promote to production", width="medium")
def _promote(visit: Visit, release: Release, live: LiveRelease | None) -> None:
    with visit.read() as session:
        then_parts = components_of(session, visit.context.settings, release.configuration)
        now_parts = components_of(session, visit.context.settings, live.configuration) if live else {}
        pointer = queries.channel_row(session, visit.project.id)
    before = live.release.title if live else "nothing"
    page.plain(f"{release.title} answers on {PRODUCTION} from this moment on, instead of {before}.")
    changes = [SlotChange(slot, now_parts.get(slot), then_parts[slot]) for slot in SLOTS]
    release_parts.slot_changes([change for change in changes if change.changed])
    st.caption("Every component is checked against its hash first. You can roll back at any time.")
    reason = st.text_input("Why now (optional)", key=f"releases_promote_reason_{release.id}")
    if st.button("Promote now", type="primary", key="releases_promote_now"):
        number = pointer.number if pointer else 0
        moved = None
        with page.acting(f"{release.title} is live."), st.spinner("Checking components and signatures…"):
            moved = visit.services.releases.promote(
                visit.actor,
                release.id,
                reason=reason,
                expected_move=number,
                command_id=f"promote:{release.id}:{PRODUCTION}:{number}",
            )
        if moved is not None:
            st.rerun()


@st.dialog("Withdraw a release")
def _withdraw(visit: Visit, release: Release) -> None:
    page.plain(f"{release.title} can then never be approved or promoted. This cannot be undone; it can be proposed again.")
    with st.form("releases_withdraw", border=False):
        reason = st.text_input("Why", key=f"releases_withdraw_reason_{release.id}")
        sent = st.form_submit_button("Withdraw it", type="primary", key="releases_withdraw_now")
    if sent:
        withdrawn = None
        with page.acting(f"{release.title} is withdrawn."):
            withdrawn = visit.services.releases.withdraw(
                visit.actor, release.id, reason=reason, command_id=f"withdraw:{release.id}:{visit.actor.id}"
            )
        if withdrawn is not None:
            st.rerun()


def _publish(release: Release) -> str:
    policy = release.corpus_policy
    rules = (("low", policy.low), ("medium", policy.medium), ("high", policy.high))
    return "; ".join(
        f"{tier} risk: {' or '.join(rule.roles) or 'nobody'}{' with a second person' if rule.second_person else ''}"
        for tier, rule in rules
    )
