"""A server as a program: it runs until SIGTERM or Ctrl+C."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from inception_serving.server.budget import ByteBudget
from inception_serving.server.listening import allow_many_files
from inception_serving.server.options import SERVE_DEFAULTS, ServerOptions
from inception_serving.server.received.turns import LONG_WORK
from inception_serving.server.startup import load_tensorflow_quietly

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
    ending = _ending(server.options.grace_s + _END_S)

    def on_signal(number: int, frame: object) -> None:
        first = not stopping.is_set()
        stopping.set()  # before anything that another signal could come into
        if first:
            ending.start()
        if not serving:  # in the middle of a load there is nothing to drain
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    if hasattr(signal, "SIGHUP"):  # a terminal that is closed is no reason to stop
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    allow_many_files()
    _switch_soon_where_needed(server.budget)
    # A search of all objects for cycles stops everybody, 0.15 s where thousands of calls are under
    # way, and they are made again whenever those have come; the young are searched as ever.
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, max(old, _SEARCHES))
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
        gc.set_threshold(young, middle, old)
        # Where it has been told to end, it is ended in the end.
        has_ended = server.join(_END_S + 1 if stopping.is_set() else 1)
        if has_ended and not _is_loading():
            ending.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _switch_soon_where_needed(budget: ByteBudget) -> None:
    """A request wants Python's lock a dozen times, and whoever reads a large body, or works for
    long, has it for this long each time. Where nobody does, Python's own figure costs fewer changes
    of thread."""
    usual = sys.getswitchinterval()
    reasons: set[str] = set()
    changing = threading.Lock()

    def change(reason: str, is_so: bool) -> None:
        with changing:
            (reasons.add if is_so else reasons.discard)(reason)
            sys.setswitchinterval(_SWITCH_S if reasons else usual)

    budget.on_much = lambda is_much: change("much", is_much)
    LONG_WORK.on_use = lambda is_used: change("long", is_used)


def _ending(seconds: float) -> threading.Timer:
    """Ends the process after so long, whatever its threads are at: Python waits for them."""

    def end() -> None:
        logging.getLogger(_LOGGER).warning("Work has not ended in time: it is dropped.")
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    return timer


def _is_loading() -> bool:
    """Whether a thread loads a version, or runs a batch, that it does not come to an end with."""
    end = time.monotonic() + 1
    while any(thread.name.startswith(_WORKERS) for thread in threading.enumerate()):
        if time.monotonic() > end:
            return True
        time.sleep(0.01)
    return False


_WORKERS = ("loader_", "batch_")
_SWITCH_S = 0.001
_SEARCHES = 1000  # of the middle-aged, for one of all
_END_S = 3.0  # after the grace, for unloading
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
