"""A server as a program: it runs until SIGTERM or Ctrl+C."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from inception_serving.server.options import SERVE_DEFAULTS, ServerOptions
from inception_serving.startup import load_tensorflow_quietly

if TYPE_CHECKING:
    from inception_serving.server.model_server import ModelServer


def serve(
    base_path: str | os.PathLike[str],
    *,
    options: ServerOptions = SERVE_DEFAULTS,
    **changes: Any,
) -> None:
    """Serve every model below a folder until SIGTERM or SIGINT (Ctrl+C).

    One line is logged to stderr for each change of a version's state; the addresses go to
    stdout. Call it from the main thread, where Python handles signals.

    Args:
        base_path: BASE of BASE/NAME/VERSION.
        options: how to serve; by default gRPC on port 8500, and REST and the page on 8501.
        **changes: other values for some of the options, by name; see `ServerOptions`.

    Raises:
        TypeError: there is no such option.
        errors.OptionError: an option breaks its rule.
        errors.ServerStartError: no model, a model that does not load, a port in use.
    """
    options = options.with_changes(changes)
    log_to_stderr()
    load_tensorflow_quietly()
    from inception_serving.server.model_server import ModelServer

    run(ModelServer(base_path, options=options))


def run(server: ModelServer) -> None:
    """Start a server, print its addresses, and stop it on SIGTERM or SIGINT."""
    stopping = threading.Event()
    serving = False

    def on_signal(number: int, frame: object) -> None:
        stopping.set()
        if not serving:  # in the middle of a load there is nothing to drain
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        server.start()
        serving = True
        try:
            print(f"gRPC on {server.address}", flush=True)
            if server.rest_address is not None:
                print(f"REST on {server.rest_address}/v1/models/NAME", flush=True)
            while not stopping.wait(1.0):  # a wait without end would hold signals up on Windows
                pass
        finally:
            logging.getLogger(_LOGGER).info("Stopping: requests in flight may finish.")
            server.stop()
    except KeyboardInterrupt:
        if not stopping.is_set():
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOGGER = "inception_serving"


def log_to_stderr() -> None:
    """Show the server's log, unless the program has arranged for it already."""
    logger = logging.getLogger(_LOGGER)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
