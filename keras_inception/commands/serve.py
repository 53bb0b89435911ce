"""``keras-inception serve``."""

from __future__ import annotations

import argparse
from typing import Any

from inception_serving.server.options import SERVE_DEFAULTS, describe
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
    options = describe()
    for name, read in (("host", str), ("port", int), ("rest_port", int)):
        serve.add_argument(
            f"--{name.replace('_', '-')}",
            type=read,
            default=getattr(SERVE_DEFAULTS, name),
            help=f"{options[name].doc} (%(default)s)",
        )
    serve.add_argument(
        "--no-page", dest="page", action="store_false", help=f"do not {options['page'].doc}"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from inception_serving.server import serve

    serve(
        options.base,
        host=options.host,
        port=options.port,
        rest_port=options.rest_port,
        page=options.page,
    )
    return 0
