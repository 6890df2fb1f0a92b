"""`python -m workbench.worker`: run jobs until SIGTERM."""

import logging
import signal
from types import FrameType

from workbench.annotation import disagreement
from workbench.bootstrap import bootstrap
from workbench.core.settings import load_settings
from workbench.worker.loop import Worker


def main() -> None:
    """Look for jobs; on SIGTERM or SIGINT let those that run save, then end."""
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    services = bootstrap(settings=settings)
    with services.context.database.writing.begin() as connection:
        disagreement.fill(connection)
    worker = Worker(services)

    def stop(number: int, frame: FrameType | None) -> None:
        worker.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worker.run()


if __name__ == "__main__":
    main()
