"""``keras-inception serve``."""

from __future__ import annotations

import argparse
from typing import Any

from keras_inception.commands.arguments import add_command


def add(commands: Any) -> None:
    """Declare it."""
    serve = add_command(
        commands,
        "serve",
        run,
        "serve every model below a folder over gRPC and REST",
        "Speaks TF Serving's API; new versions are picked up as they appear.",
    )
    serve.add_argument("base", metavar="BASE", help="holds NAME/VERSION, as `export` writes it")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=int, default=8500, help="of gRPC (%(default)s); 0: a free one"
    )
    serve.add_argument(
        "--rest-port", type=int, default=8501, help="of REST (%(default)s); 0: a free one"
    )
    serve.add_argument(
        "--no-page", action="store_true", help="no page for people at / of the REST port"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from inception_serving.server import serve

    serve(
        options.base,
        host=options.host,
        port=options.port,
        rest_port=options.rest_port,
        page=not options.no_page,
    )
    return 0
