"""The command line: everything the pages' processes need, and what people script."""

import sys

from workbench.core.errors import WorkbenchError


def main() -> None:
    """Entry point `workbench`. Exit codes: 0 done, 1 the check or act failed, 2 wrong use."""
    from workbench.cli.commands import app

    try:
        app()
    except WorkbenchError as error:
        print(f"workbench: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
