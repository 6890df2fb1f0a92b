"""Masking as an admin sets it up, and as a reader of a trace sees it; and in a shell."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.pages import shower
from tests.traces.factories import body, span
from workbench.bootstrap import Services
from workbench.cli.commands import app
from workbench.core.actors import Actor, Role
from workbench.identity.models import Project
from workbench.traces.indexer import index_all
from workbench.traces.masking.policy import MaskingPolicy
from workbench.traces.masking.rules import policy_of
from workbench.traces.queries import list_traces
from workbench.ui.trace_filters import read
from workbench.ui.trace_list import _row

PAGES = Path(__file__).parents[2] / "pages"
ADDRESS = "ana@x.example.com"


def test_an_admin_tries_a_text_and_saves_rules_with_a_reason(
    services: Services, project: Project, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shower(services, project, monkeypatch, PAGES / "admin.py")(someone(Role.ADMIN))
    page.text_area(key="masking_terms_1").set_value("Proyecto Ñandú").run()
    page.text_area(key="masking_try").set_value(f"PROYECTO ÑANDÚ of {ADDRESS}, order 612345678").run()
    assert any("&lt;TERM_1&gt; of &lt;EMAIL_1&gt;, order 612345678" in one.proto.body for one in page.get("html"))
    page.button(key="masking_save").click().run()
    assert "needs a reason" in page.error[0].value
    page.text_input(key="masking_reason_1").set_value("A project with a secret name").run()
    page.button(key="masking_save").click().run()
    assert not page.exception
    assert not page.error
    with services.context.database.session() as session:
        current = policy_of(session, project.id)
    assert (current.version, current.terms) == (2, ("Proyecto Ñandú",))


def test_a_reader_sees_what_was_masked_and_a_reviewer_why_they_may_see_more(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = MaskingPolicy(originals="kept encrypted")
    services.masking.set_policy(someone(Role.ADMIN), project.id, keep, reason="Fraud cases")
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, body(span({"workbench.input": f"I am {ADDRESS}"}, trace_id=trace_id)))
    index_all(services.context)
    show = shower(services, project, monkeypatch, PAGES / "traces.py")
    reader = show(someone(Role.ANNOTATOR), trace=trace_id)
    assert any("1 email" in one.value for one in reader.caption)
    assert not [one for one in reader.button if one.key == "trace_original_show"]
    page = show(someone(Role.REVIEWER), trace=trace_id)
    page.button(key="trace_original_show").click().run()
    assert "needs a reason" in page.error[0].value
    page.text_input(key=f"trace_original_reason_{trace_id}").set_value("Complaint 12").run()
    page.button(key="trace_original_show").click().run()
    assert any(ADDRESS in one.proto.body for one in page.get("html"))
    page.run()
    assert not any(ADDRESS in one.proto.body for one in page.get("html"))


def test_the_shell_says_what_a_text_would_become(services: Services, project: Project, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(f"Write to {ADDRESS}", encoding="utf-8")
    asked = ["traces", "mask-check", "--home", str(home)]
    done = CliRunner().invoke(app, [*asked, str(file)])
    assert (done.exit_code, done.stdout) == (0, "Write to <EMAIL_1>\n")
    assert "1 EMAIL" in done.stderr
    assert CliRunner().invoke(app, [*asked, "-"], input="nothing here").stdout == "nothing here\n"
    assert CliRunner().invoke(app, [*asked, str(tmp_path / "missing")]).exit_code != 0


def _keeping(services: Services, project: Project, key: Actor, admin: Actor, *people: str) -> None:
    services.masking.set_policy(admin, project.id, MaskingPolicy(originals="kept encrypted"), reason="Fraud cases")
    for person in people:
        services.traces.ingest_otlp(key, project.id, body(span({"user.id": person, "workbench.input": f"I am {ADDRESS}"})))
    index_all(services.context)


def test_an_admin_forgets_a_person_on_the_page(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = someone(Role.ADMIN)
    _keeping(services, project, key, admin, "u-1", "u-2")
    page = shower(services, project, monkeypatch, PAGES / "admin.py")(admin)
    page.text_input(key="forget_id_0").set_value("nobody").run()
    assert any("No original" in one.value for one in page.info)
    page.text_input(key="forget_id_0").set_value("u-1").run()
    assert any("1 original of 1 trace become unreadable" in one.value for one in page.warning)
    assert page.button(key="forget_confirm").disabled
    page.checkbox(key="forget_sure_0").check().run()
    page.button(key="forget_confirm").click().run()
    assert "needs a reason" in page.error[0].value
    page.text_input(key="forget_reason_0").set_value("Request 17").run()
    page.button(key="forget_confirm").click().run()
    assert not page.exception
    assert page.text_input(key="forget_id_1").value == ""
    assert [services.masking.forgetting(admin, project.id, one).originals for one in ("u-1", "u-2")] == [0, 1]


def test_a_person_is_forgotten_in_a_shell(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], home: Path
) -> None:
    admin = someone(Role.ADMIN)
    _keeping(services, project, key, admin, "u-1", "u-2")
    asked = ["traces", "forget-person", "--home", str(home), "--reason", "Request 17"]
    refused = CliRunner().invoke(app, [*asked, "u-1"], input="n\n")
    assert refused.exit_code != 0
    assert "1 original of 1 trace become" in refused.stderr
    assert services.masking.forgetting(admin, project.id, "u-1").originals == 1
    assert CliRunner().invoke(app, [*asked, "u-1"], input="y\n").exit_code == 0
    assert CliRunner().invoke(app, [*asked, "-"], input="u-2\n").exit_code != 0
    done = CliRunner().invoke(app, [*asked, "-", "--yes", "--json"], input="u-2\n")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"keys": 1, "originals": 1, "traces": 1})
    assert CliRunner().invoke(app, [*asked, "u-2"]).exit_code != 0


def test_lists_say_what_is_masked_and_find_it(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], home: Path
) -> None:
    for said in (f"I am {ADDRESS}, or bob@x.com, +34 600 123 456", "Nothing of anybody"):
        services.traces.ingest_otlp(key, project.id, body(span({"workbench.input": said})))
    index_all(services.context)
    with services.context.database.session() as session:
        rows = list_traces(session, project.id).rows
    by_question = {row.input_preview: _row(row, read({}))["marks"] for row in rows}
    assert by_question == {
        "I am <EMAIL_1>, or <EMAIL_2>, <PHONE_1>": [["dim", "3 masked", "Masked on the way in: 2 email, 1 phone"]],
        "Nothing of anybody": [],
    }
    asked = ["traces", "list", "--home", str(home), "--json", "--where"]
    (found,) = map(json.loads, CliRunner().invoke(app, [*asked, "has=masked_values"]).stdout.splitlines())
    assert found["mask_counts"] == {"EMAIL": 2, "PHONE": 1}
    (other,) = map(json.loads, CliRunner().invoke(app, [*asked, "lacks=masked_values"]).stdout.splitlines())
    assert (other["input"], other["mask_counts"]) == ("Nothing of anybody", {})
