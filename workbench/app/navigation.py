"""Which pages a person sees, by role. Hiding a page protects nothing: services and `guard` do."""

from pathlib import Path
from typing import Any

import streamlit as st

from workbench.core.actors import Role
from workbench.ui.guard import Visit
from workbench.ui.links import page_file

ICON = Path(__file__).parent / "icon.png"
_R = Role
_EVERYONE = frozenset(Role)

_BUILDERS = frozenset({_R.ENGINEER, _R.REVIEWER, _R.AUDITOR, _R.ADMIN})
_DECIDERS = frozenset({_R.ENGINEER, _R.REVIEWER, _R.AUDITOR, _R.OPERATOR})

_SECTIONS: dict[str, list[tuple[str, str, str, frozenset[Role]]]] = {
    "": [("home", "Home", ":material/home:", _EVERYONE)],
    "Learn": [
        ("traces", "Traces", ":material/forum:", _EVERYONE),
        ("annotate", "Annotate", ":material/edit_note:", frozenset({_R.ANNOTATOR, _R.EXPERT, _R.ENGINEER, _R.ADMIN})),
        ("knowledge", "Knowledge", ":material/menu_book:", _EVERYONE),
        ("datasets", "Datasets", ":material/dataset:", _BUILDERS),
        ("tune", "Tune", ":material/tune:", _BUILDERS | {_R.OPERATOR}),
    ],
    "Decide": [
        ("compare", "Compare", ":material/compare_arrows:", _DECIDERS | {_R.EXPERT}),
        ("releases", "Releases", ":material/verified:", _DECIDERS | {_R.ADMIN}),
        ("audit", "Audit", ":material/history:", frozenset({_R.REVIEWER, _R.AUDITOR, _R.ADMIN})),
    ],
    "Run": [("admin", "Admin", ":material/settings:", frozenset({_R.ADMIN}))],
}
"""Section → (file and address, title, icon, roles whose navigation shows it)."""


def pages_for(visit: Visit) -> dict[str, list[Any]]:
    """Navigation sections with the pages of this person's roles. Other pages stay reachable by address, unlisted.

    A page that is not listed still refuses what the person may not do.
    """
    roles = visit.actor.roles(visit.project.id)
    sections: dict[str, list[Any]] = {}
    for section, entries in _SECTIONS.items():
        for name, title, icon, audience in entries:
            path = page_file(name)
            if not path.exists():
                continue
            sections.setdefault(section, []).append(
                st.Page(
                    path,
                    title=title,
                    icon=icon,
                    url_path="" if name == "home" else name,
                    default=name == "home",
                    visibility="visible" if roles & audience else "hidden",
                )
            )
    return sections
