"""`scripts/bench NAME [--json]`."""

import argparse
import importlib
import json
import pkgutil
import sys

import scripts.benches
from scripts.benches.figures import machine, table

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(scripts.benches.__path__)
    if not module.ispkg and module.name not in ("__main__", "figures", "running")
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    arguments = parser.parse_args()
    module = importlib.import_module(f"scripts.benches.{arguments.name}")
    figures = module.run(lambda line: print(line, file=sys.stderr, flush=True))
    if arguments.json:
        value = {"name": arguments.name, "machine": machine(), "figures": [figure.as_json() for figure in figures]}
        print(json.dumps(value, ensure_ascii=False))
    else:
        print(machine())
        print(table(figures))
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
