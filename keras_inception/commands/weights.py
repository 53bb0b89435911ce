"""``keras-inception weights convert``, ``weights verify`` and ``weights forget``."""

from __future__ import annotations

import argparse
from typing import Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command


def add(commands: Any) -> None:
    """Declare them."""
    weights = commands.add_parser(
        "weights",
        help="convert weights between forms, verify them, forget a download",
        description="Convert weights between forms, verify them, forget a download.",
    )
    inner = weights.add_subparsers(title="commands", dest="weights", required=True)
    convert = add_command(
        inner,
        "convert",
        run_convert,
        "write weights in another form",
        "What IN is, is seen from its content. OUT's end decides its form: .weights.h5 (Keras),"
        " .safetensors (timm's names), or else the prefix of a TensorFlow checkpoint (TF-Slim's"
        " names).",
    )
    verify = add_command(
        inner,
        "verify",
        run_verify,
        "check what a file of weights holds, where it goes, and the numbers it gives",
    )
    for command, metavar in ((convert, "IN"), (verify, "FILE")):
        command.add_argument("file", metavar=metavar, help="a file, or imagenet[:SOURCE/NAME]")
        if command is convert:
            command.add_argument("target", metavar="OUT")
        command.add_argument(
            "--model", required=True, metavar="NAME", help="the network, as `models` lists it"
        )
        command.add_argument(
            "--ema", action="store_true", help="take the moving averages of the weights"
        )
    convert.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="NAME",
        help="leave it out, ours or the file's name; * stands for anything; may be repeated",
    )
    verify.add_argument("--names", action="store_true", help="list every variable's two names")
    forget = add_command(
        inner,
        "forget",
        run_forget,
        "remove downloaded weights from the cache",
        "The hash that was recorded of them goes too, so that the next download counts as the"
        " first.",
    )
    forget.add_argument(
        "weights", metavar="WEIGHTS", help="imagenet:NETWORK or imagenet:SOURCE/NAME"
    )


def run_convert(options: argparse.Namespace) -> int:
    """Convert."""
    load_tensorflow_quietly()
    from keras_inception.published.conversion import convert_weights

    skipped = convert_weights(
        options.file, options.target, options.model, ema=options.ema, skip=options.skip
    )
    for name in skipped:
        print(f"left out: {name}")
    print(f"{options.target} written.")
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Verify."""
    load_tensorflow_quietly()
    from keras_inception.published.conversion import verify_weights

    found = verify_weights(options.file, options.model, ema=options.ema)
    if options.names:
        for ours, (theirs, shape) in found.names.items():
            print(f"{ours}  {theirs}  {'x'.join(map(str, shape))}")
    classes = f"{found.classes} classes" if found.classes else "no classifier"
    heads = "auxiliary heads" if found.aux else "no auxiliary heads"
    print(f"{found.format}, variant {found.variant!r}, {classes}, {heads}")
    for file, digest in found.sha256.items():
        print(f"sha256 {digest}  {file}")
    print(f"{len(found.names)} variables, all in place; {len(found.ignored)} names that are none")
    if found.proved_by is None:
        print("names: our own")
    else:
        print(
            f"names: as {found.proved_by} has them, by its answer with known values:"
            f" {found.difference:.1e} standard deviations apart"
        )
    for output, logits in found.logits.items():
        print(f"{output}: {', '.join(f'{logit:.5g}' for logit in logits)}, ...")
    if found.logits:
        print("as written down at its conversion" if found.recorded else "not written down before")
    return 0


def run_forget(options: argparse.Namespace) -> int:
    """Forget."""
    from keras_inception.models.catalogue import find_published
    from keras_inception.weights.download import forget

    entry, name = find_published(options.weights)
    removed = forget(name, entry.weights[name])
    for path in removed:
        print(f"Removed {path}")
    if not removed:
        print(f"Nothing is kept of {name}.")
    return 0
