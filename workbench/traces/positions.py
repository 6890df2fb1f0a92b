"""Where a page of a list ended: as an opaque word of the address, and as the condition for what comes behind it."""

import base64
import json
from datetime import datetime
from typing import Any

from workbench.core.errors import InvalidInput


def spell(value: Any, row_id: int) -> str:
    """The word for the row with this value in the order; the row id tells rows with one value apart."""
    spelled = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([spelled, row_id]).encode()).decode().rstrip("=")


def read(after: str, *, moment: bool) -> tuple[Any, int]:
    """The value and the row id of a word.

    Args:
        moment: whether the order is by time, else by a number.

    Raises:
        InvalidInput: no page gave this word.
    """
    try:
        value, row_id = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        if moment:
            value = datetime.fromisoformat(value)
            if value.tzinfo is None:
                raise ValueError("naive")
        return (value if moment else float(value)), int(row_id)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("This is not where a page of this list ended.", todo="Start again from the first page.") from error


def behind(column: Any, row_id: Any, place: tuple[Any, int], *, descending: bool) -> list[Any]:
    """Conditions for the rows behind a place in an order by a column and the row id.

    The column alone comes first: from it a database knows where in an index to begin, which an `or` hides from SQLite.
    """
    value, number = place
    if descending:
        return [column <= value, (column < value) | (row_id < number)]
    return [column >= value, (column > value) | (row_id > number)]
