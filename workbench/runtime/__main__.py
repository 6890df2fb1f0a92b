"""`python -m workbench.runtime`: serve the models on loopback until SIGTERM."""

import logging
import os
import secrets
import threading

import uvicorn

from workbench.bootstrap import make_context
from workbench.core.clock import now
from workbench.core.jobs import beat
from workbench.core.settings import Settings, load_settings
from workbench.core.unit_of_work import Context
from workbench.runtime.corpus import Retriever, SqlCorpus
from workbench.runtime.engine import Engine, token_file
from workbench.runtime.server import make_app
from workbench.runtime.trace_clusters import TraceGrouper
from workbench.runtime.trace_meaning import TraceMeaning

BEAT_SECONDS = 5.0
log = logging.getLogger(__name__)


def main() -> None:
    """Load in the background and serve at once."""
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    context = make_context(settings)
    _make_token_if_missing(settings)
    engine = Engine(settings, context.artifacts)
    retriever = Retriever(SqlCorpus(context.database), engine.embedder, engine.index)
    meaning = TraceMeaning(context, engine.embedder)
    engine.start()
    for name, target, arguments in (
        ("follower", retriever.follow, (engine.stopping,)),
        ("trace embedder", meaning.follow, (engine.stopping,)),
        ("grouper", TraceGrouper(context, engine.embedder).follow, (engine.stopping,)),
        ("heartbeat", _beat, (context, engine)),
    ):
        threading.Thread(target=target, args=arguments, name=name, daemon=True).start()
    try:
        uvicorn.run(
            make_app(engine, retriever, meaning),
            host="127.0.0.1",
            port=settings.runtime_port,
            log_level="warning",
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,  # longer than callers keep idle connections, so that none is reused as it closes
        )
    finally:
        engine.stop()
        context.database.dispose()


def _make_token_if_missing(settings: Settings) -> None:
    """The supervisor makes one at each start; alone, the runtime makes its own."""
    try:
        handle = os.open(token_file(settings), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32))


def _beat(context: Context, engine: Engine) -> None:
    started = now()
    while not engine.stopping.wait(BEAT_SECONDS):
        state = engine.health()
        try:
            beat(context, "runtime", os.getpid(), started, state=state["status"], detail=state["reason"][:500])
        except Exception as error:  # A home that is being migrated: the next beat will do.
            log.warning("no heartbeat: %s", str(error).splitlines()[0])


if __name__ == "__main__":
    main()
