"""The admin page's masking rules of a project: what is masked on the way in, tried out before it is saved."""

from dataclasses import replace

import phonenumbers
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.traces.masking.ids import COUNTRIES
from workbench.traces.masking.policy import IN_WORDS, MaskingPolicy, MaskType, Originals, checked
from workbench.traces.masking.preview import preview
from workbench.traces.masking.rules import history_of, policy_of
from workbench.ui import page
from workbench.ui.admin_forgetting import forget_person
from workbench.ui.guard import Visit

_EXAMPLE = "I am ana.ruiz@example.com, card 4111 1111 1111 1111, call +34 600 123 456. Order 612345678 of 2026-05-28."
_KEEPING = {
    Originals.NOT_KEPT.value: "Only the masked text exists. Nobody can see an original, and there is nothing to erase.",
    Originals.KEPT.value: "With a key per end user. Seeing one takes a permission and a reason, and is written into the "
    "ledger; deleting a person's key erases theirs.",
}


def masking(visit: Visit) -> None:
    """Rules on the left, what they do to a text on the right."""
    with visit.read() as session:
        current = policy_of(session, visit.project.id)
        history = history_of(session, visit.project.id)
    st.subheader("Masking", anchor=False)
    st.caption(
        "Personal data and secrets are replaced before a trace, feedback or a file is stored. The same value has the same "
        "placeholder everywhere in a trace. A change holds for what comes in afterwards."
    )
    left, right = st.columns(2, gap="large")
    with left:
        wanted = _rules(visit, current)
    with right:
        _try_it(wanted)
    with left:
        _save(visit, current, wanted)
        if history:
            with st.expander(f"Earlier changes ({len(history)})", key="masking_history"):
                for one in history[:50]:
                    page.plain(f"Version {one.version}   {page.moment(one.at)}   {one.reason}")
        forget_person(visit)


def _rules(visit: Visit, current: MaskingPolicy) -> MaskingPolicy:
    fixed = not visit.can(Permission.MANAGE_PROJECTS)
    made = current.version  # new keys after a save, so that the fields show what holds
    types = st.pills(
        "What is masked", list(IN_WORDS), selection_mode="multi", default=list(current.types), disabled=fixed,
        format_func=lambda kind: IN_WORDS[kind], key=f"masking_types_{made}",
    )  # fmt: skip
    regions = st.multiselect(
        "Phone numbers as written in", sorted(phonenumbers.SUPPORTED_REGIONS), default=list(current.phone_regions),
        disabled=fixed, key=f"masking_regions_{made}",
        help="How people of a country write a number without its country code. Numbers with + are known everywhere.",
    )  # fmt: skip
    countries = st.multiselect(
        "National ids of", sorted(COUNTRIES), default=list(current.id_countries), disabled=fixed,
        format_func=lambda code: COUNTRIES[code], key=f"masking_countries_{made}",
        help="Ids with check digits, or with a word beside them that says what they are.",
    )  # fmt: skip
    terms = st.text_area(
        "Terms of your own, one a line", "\n".join(current.terms), disabled=fixed, key=f"masking_terms_{made}",
        help="Whole words in any case: names of people, projects, places that must not be stored.",
    )  # fmt: skip
    originals = st.radio(
        "Originals", list(_KEEPING), index=list(_KEEPING).index(current.originals), disabled=fixed,
        captions=list(_KEEPING.values()), key=f"masking_originals_{made}",
    )  # fmt: skip
    return replace(
        current,
        types=tuple(kind for kind in MaskType if kind in (types or [])),
        phone_regions=tuple(regions),
        id_countries=tuple(countries),
        terms=tuple(terms.splitlines()),
        originals=originals,
    )


def _try_it(wanted: MaskingPolicy) -> None:
    text = st.text_area("Try a text; it is not stored", _EXAMPLE, height=120, max_chars=20_000, key="masking_try")
    try:
        masked, counts = preview(checked(wanted), text or "")
    except WorkbenchError as error:
        page.failure(error)
        return
    st.caption("What would be stored")
    with st.container(border=True):
        page.plain(masked)
    said = ", ".join(f"{count} {kind.lower()}" for kind, count in counts.items())
    st.caption(f"Masked: {said}." if said else "Nothing is masked in this text.")


def _save(visit: Visit, current: MaskingPolicy, wanted: MaskingPolicy) -> None:
    if not visit.can(Permission.MANAGE_PROJECTS):
        st.caption("Admins of this project change these rules.")
        return
    if off := [IN_WORDS[kind] for kind in current.types if kind not in wanted.types]:
        st.warning(f"No longer masked from then on: {', '.join(off)}. What is stored so cannot be masked later.")
    reason = st.text_input("Why", placeholder="What is different about this project", key=f"masking_reason_{current.version}")
    if st.button("Save masking", type="primary", key="masking_save"):
        try:
            saved = visit.services.masking.set_policy(
                visit.actor, visit.project.id, wanted, reason=reason, based_on=current.version
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        st.toast("Saved." if saved.version != current.version else "Nothing was changed.")
        st.rerun()
