"""Whether every component that a release names is here and unaltered."""

import json
from pathlib import Path

from sqlmodel import Session

from workbench.core.canonical import content_hash, hash_file
from workbench.core.errors import IntegrityError, NotFound
from workbench.core.settings import Settings
from workbench.core.unit_of_work import Context
from workbench.prompts.queries import by_hash
from workbench.serving.configuration import ServingConfiguration

_CARD = "workbench.json"
"""The file that the runtime writes into a model's folder last: {"content_hash", "folder"?, …}."""


def check_components(context: Context, session: Session, configuration: ServingConfiguration) -> None:
    """Check every byte of base model, adapters and prompt version against its hash.

    Takes about a second per GB.

    Raises:
        NotFound: a component is missing.
        IntegrityError: a component was altered.
    """
    check_base_model(context.settings, configuration.base_model)
    check_light_components(context, session, configuration)


def check_light_components(context: Context, session: Session, configuration: ServingConfiguration) -> None:
    """The same without the base model, whose hash the runtime checks when it loads it: tens of milliseconds.

    Raises:
        NotFound, IntegrityError
    """
    for adapter in (configuration.generator_adapter, configuration.triage_adapter):
        if adapter is not None:
            context.artifacts.verify(adapter)
    prompt = by_hash(session, configuration.project_id, configuration.prompt_version)
    if content_hash(prompt.content) != configuration.prompt_version:
        raise IntegrityError(
            f"The prompt version {prompt.name} {prompt.number} was altered in the database.",
            todo="Store its text again as a new version, or restore the database; the Audit page shows who changed what.",
        )


def check_base_model(settings: Settings, name: str) -> Path:
    """The folder of the base model of this hash, with its weights checked.

    Raises:
        NotFound: no converted model has that hash.
        IntegrityError: its weights were altered since.
    """
    card = _card_of(settings, name)
    if card is None:
        raise NotFound(
            f"The base model {name[:19]}… is not on this machine.",
            todo="Wait until its conversion has finished (the admin page shows it), or restore the models folder.",
        )
    folder = Path(json.loads(card.read_text(encoding="utf-8")).get("folder") or card.parent)
    if content_hash({file.name: hash_file(file) for file in sorted(folder.glob("*.safetensors"))}) != name:
        raise IntegrityError(
            f"The base model {card.parent.name} was altered on disk.",
            todo="Remove its folder below models/ and start the workbench again: it is made anew.",
        )
    return folder


def base_model_name(settings: Settings, name: str) -> str | None:
    """What the base model of this hash is called here; None when it is not on this machine."""
    card = _card_of(settings, name)
    return None if card is None else card.parent.name


def base_models(settings: Settings) -> dict[str, str]:
    """Hash → name of every base model on this machine."""
    found: dict[str, str] = {}
    for card in sorted(settings.folder("models").glob(f"*/{_CARD}")):
        try:
            found[str(json.loads(card.read_text(encoding="utf-8"))["content_hash"])] = card.parent.name
        except (ValueError, KeyError):
            continue
    return found


def _card_of(settings: Settings, name: str) -> Path | None:
    for card in sorted(settings.folder("models").glob(f"*/{_CARD}")):
        try:
            if json.loads(card.read_text(encoding="utf-8")).get("content_hash") == name:
                return card
        except ValueError:
            continue
    return None
