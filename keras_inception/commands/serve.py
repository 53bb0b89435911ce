"""``keras-inception serve``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from inception_serving.engines.programs import ENGINES
from inception_serving.server.metrics import METRICS_PATH
from inception_serving.server.options import SERVE_DEFAULTS, describe
from keras_inception.commands.arguments import add_command, positive

# Options of the command that are the server's, by their names.
_SETTINGS = (
    *("host", "port", "rest_port", "num_versions", "page", "health_service", "batching"),
    *("metrics_path", "mixed_precision"),
)


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
    serve.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what serves: our own server, or TF Serving's, as the program of this name or as its"
        " image (%(default)s)",
    )
    options = describe()
    for name in ("host", "port", "rest_port"):
        serve.add_argument(
            f"--{name.replace('_', '-')}",
            type=options[name].kind.argument,
            default=getattr(SERVE_DEFAULTS, name),
            help=f"{options[name].doc} (%(default)s)",
        )
    serve.add_argument(
        "--no-page", dest="page", action="store_false", help=f"do not {options['page'].doc}"
    )
    serve.add_argument(
        "--num-versions",
        type=_count_or_all,
        default=SERVE_DEFAULTS.num_versions,
        metavar="N|all",
        help="how many of each model's latest versions are served at a time, as to compare two"
        " (%(default)s)",
    )
    for flag, name in (("--health", "health_service"), ("--batching", "batching")):
        serve.add_argument(flag, dest=name, action="store_true", help=options[name].doc)
    serve.add_argument(
        "--metrics",
        dest="metrics_path",
        nargs="?",
        const=METRICS_PATH,
        metavar="PATH",
        help=f"{options['metrics_path'].doc} ({METRICS_PATH} if no path is given)",
    )
    serve.add_argument(
        "--mixed-precision", choices=["bfloat16"], help=options["mixed_precision"].doc
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if not options.base:
        raise ValueError("BASE needs a name. Received: ''")
    _check_base(Path(options.base))
    settings = {name: getattr(options, name) for name in _SETTINGS}
    if options.engine == ENGINES[0]:
        from inception_serving.server import serve

        serve(options.base, **settings)
    else:
        from inception_serving.engines.external import serve_by

        serve_by(options.engine, options.base, **settings)
    return 0


def _count_or_all(text: str) -> int | None:
    """A whole number of at least 1; ``None`` for all."""
    return None if text == "all" else positive(text)


def _check_base(base: Path) -> None:
    """Whoever names what `export` reads, rather than what it writes, is told of `export`.

    Raises:
        ValueError: it is a run, a folder of runs or a Keras model.
    """
    if not base.is_dir() and not base.is_file():
        raise ValueError(
            f"There is no folder {base}: BASE holds NAME/VERSION, as `export` writes it."
        )
    is_model = base.suffix in (".keras", ".h5") and base.is_file()
    # As `is_run` has it, which would load Keras, and a server needs none.
    is_run = (base / "run.json").is_file()
    runs = [base] if is_run else [path.parent for path in base.glob("*/run.json")]
    if is_model or runs:
        source = base if is_model else runs[0]
        what = "a Keras model" if is_model else "a run" if is_run else "a folder of runs"
        raise ValueError(
            f"{base} is {what}, and a server takes what `export` writes. First: "
            f"keras-inception export {shlex.quote(str(source))} models --name NAME; "
            "then: keras-inception serve models"
        )
