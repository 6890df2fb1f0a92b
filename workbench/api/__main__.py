"""`python -m workbench.api`: serve the api until told to stop."""

import logging

import uvicorn

from workbench.api.app import create_app
from workbench.bootstrap import bootstrap


def main() -> None:
    """Serve on the address and port of the settings. SIGINT and SIGTERM finish what is being answered, then stop."""
    services = bootstrap()
    settings = services.context.settings
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = create_app(services, own_processes=True)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=8,
        limit_concurrency=512,
        backlog=512,
    )


if __name__ == "__main__":
    main()
