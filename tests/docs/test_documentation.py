import re
from pathlib import Path

import click
import typer.main

from workbench.cli.commands import app
from workbench.core.settings import REPOSITORY, Settings


def commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []

    def walk(path: str, command: click.Command) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append((path, command))
            return
        for name, child in children.items():
            walk(f"{path} {name}", child)

    walk("workbench", typer.main.get_command(app))
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"`WORKBENCH_{name.upper()}`" not in text]
    assert missing == []


def test_no_setting_is_documented_that_does_not_exist() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\| `WORKBENCH_([A-Z_]+)` \|", text))
    assert named == {name.upper() for name in Settings.model_fields}


def test_every_command_is_documented() -> None:
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [path for path, _ in commands() if f"`{path}" not in text] == []


def test_every_command_and_option_says_what_it_does() -> None:
    silent = []
    for path, command in commands():
        if not command.help:
            silent.append(path)
        silent += [f"{path} {p.name}" for p in command.params if not getattr(p, "help", None) and p.name != "help"]
    assert silent == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for document in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / Path(target)).exists():
                broken.append(f"{document.name}: {target}")
    assert broken == []
