"""Commands over queues, items and responses."""

from workbench.annotation.adjudicating import AdjudicationCommands
from workbench.annotation.importing import ImportCommands
from workbench.annotation.queues import QueueCommands


class AnnotationService(QueueCommands, ImportCommands, AdjudicationCommands):
    """All commands of annotation.

    queues.py: create_queue, close_queue, add_items, suggest, resolve_flag.
    responses.py: lease_next, lease_item, release, save_draft, submit, skip, flag, undo.
    importing.py: import_responses. adjudicating.py: adjudicate.
    """
