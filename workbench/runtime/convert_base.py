"""`python -m workbench.runtime.convert_base HOME`: make the base model ready and end; says on standard output how it went."""

import json
import sys
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.core.settings import load_settings
from workbench.runtime.base_models import BaseModels


def main(arguments: list[str]) -> int:
    """Exit 0 when the base model is ready; else 1 and a line {"error": reason}."""
    settings = load_settings(Path(arguments[0]) if arguments else None)
    try:
        model = BaseModels(settings).ensure(_say)
    except (WorkbenchError, OSError) as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    sys.stdout.write(json.dumps({"content_hash": model.content_hash}) + "\n")
    return 0


def _say(stage: str, fraction: float) -> None:
    sys.stderr.write(f"{stage} ({fraction:.0%})\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
