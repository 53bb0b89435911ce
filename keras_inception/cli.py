"""The command ``keras-inception``: each subcommand a thin call of a function for Python users.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inception_serving.startup import load_tensorflow_quietly
from keras_inception.training.recipe import RECIPES, Recipe, load_recipe
from keras_inception.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.traceback or not _is_users(error):
            raise
        print(f"keras-inception {options.subcommand}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-inception",
        description="Build, train, export and serve Inception networks.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", dest="subcommand", required=True)

    def command(name: str, run: Callable[[Any], int], about: str, more: str = "") -> Any:
        each = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}. {more}".strip(),
        )
        each.add_argument("--traceback", action="store_true", help="show where an error comes from")
        each.set_defaults(command=run)
        return each

    command("models", _models, "list the family: sizes, costs, published accuracies")

    describe = command(
        "describe",
        _describe,
        "print a network as its paper's table, or draw it",
        "Everything is computed from the built network.",
    )
    describe.add_argument("name", metavar="NAME", help="as `models` lists it")
    describe.add_argument(
        "--figure", metavar="SVG", help="draw it there, columns side by side as in the papers"
    )
    describe.add_argument("--variant", metavar="X", help="of the network, its default if not given")
    describe.add_argument("--stem", choices=["imagenet", "small"], default="imagenet")
    describe.add_argument(
        "--width", type=float, default=1.0, metavar="X", help="factor on every filter count"
    )
    describe.add_argument(
        "--input-shape", type=_shape, metavar="HxWxC", help="such as 299x299x3; ? for an open side"
    )
    describe.add_argument("--classes", type=_positive, default=1000, metavar="N")
    describe.add_argument("--aux", action="store_true", help="with auxiliary heads")

    train = command(
        "train",
        _train,
        "train a network on a folder of images",
        "The folder has one folder for each class with its images in it. Every setting of the"
        " recipe is an option too.",
    )
    train.add_argument("folder", help="FOLDER/CLASS/IMAGE")
    train.add_argument("--output", required=True, metavar="RUN", help="the run's folder, made here")
    train.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"one of {', '.join(RECIPES)}, or a YAML file of differences from the default recipe",
    )
    train.add_argument(
        "--validation-folder", metavar="FOLDER", help="validate on these images, same classes"
    )
    train.add_argument(
        "--on-bad-image",
        choices=["skip", "refuse"],
        default="skip",
        help="leave out and name files that can't be decoded (the default), or refuse to train",
    )
    train.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    _add_recipe_options(train)

    evaluate = command(
        "evaluate", _evaluate, "measure a run, an export or a server on images of known classes"
    )
    evaluate.add_argument("using", metavar="RUN|SAVEDMODEL|HOST:PORT/NAME")
    evaluate.add_argument("folder", help="FOLDER/CLASS/IMAGE")
    evaluate.add_argument("--json", metavar="FILE", help="write all numbers there")
    evaluate.add_argument(
        "--batch-size", type=_positive, default=32, help="images a call (%(default)s)"
    )

    export = command(
        "export",
        _export,
        "write a run as a SavedModel that TF Serving loads",
        "Makes BASE/NAME/VERSION, checked against the Keras model before it appears.",
    )
    export.add_argument("run", metavar="RUN")
    export.add_argument("base", metavar="BASE", help="the folder of all models")
    export.add_argument("--name", required=True, help="the model's name in requests")
    export.add_argument(
        "--version", type=_positive, help="a whole number; the next free one if not given"
    )
    export.add_argument(
        "--top", type=_positive, default=5, help="classes in an answer, at most (%(default)s)"
    )

    serve = command(
        "serve",
        _serve,
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

    predict = command("predict", _predict, "classify images by a run, an export or a server")
    predict.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    predict.add_argument(
        "--with", dest="using", required=True, metavar="RUN|SAVEDMODEL|HOST:PORT/NAME"
    )
    predict.add_argument(
        "--top", type=_positive, default=3, help="classes for each image (%(default)s)"
    )
    predict.add_argument(
        "--batch-size", type=_positive, default=16, help="images a call (%(default)s)"
    )
    predict.add_argument("--format", choices=["table", "json", "csv"], default="table")
    predict.add_argument("--figure", metavar="PNG", help="draw the images with their best classes")
    return parser


def _models(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from keras_inception.models.catalogue import CATALOGUE

    table = Table()
    table.add_column("network", no_wrap=True)
    for heading in ("size", "parameters", "GMACs", "top-1", "top-5"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("weights published by", overflow="fold")
    for entry in CATALOGUE:
        accuracies = ["" if top is None else f"{top:.1f}" for top in (entry.top1, entry.top5)]
        costs = (str(entry.size), f"{entry.parameters:,}", f"{entry.gmacs:.2f}")
        table.add_row(entry.title, *costs, *accuracies, ", ".join(entry.weights) or "none")
    Console().print(table)
    sources = dict.fromkeys(entry.source for entry in CATALOGUE if entry.source)
    print(f"ImageNet accuracies in percent, one crop: {'; '.join(sources)}.")
    return 0


def _describe(options: argparse.Namespace) -> int:
    from keras_inception.models.catalogue import find

    build = find(options.name).builder
    load_tensorflow_quietly()
    import keras

    from keras_inception.models.describe import describe
    from keras_inception.models.figure import draw

    with keras.StatelessScope(initialize_variables=False):  # shapes are enough here
        model = build()(
            input_shape=options.input_shape,
            classes=options.classes,
            aux=options.aux,
            width=options.width,
            stem=options.stem,
            variant=options.variant,
        )
    print(describe(model), end="")
    if options.figure:
        draw(model, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    return 0


def _train(options: argparse.Namespace) -> int:
    given = {
        setting.name: getattr(options, setting.name)
        for setting in dataclasses.fields(Recipe)
        if getattr(options, setting.name) is not None
    }
    recipe = None
    if options.recipe or given or not options.resume:
        recipe = load_recipe(options.recipe or "default").with_changes(given)
    load_tensorflow_quietly()
    from keras_inception.training.train import train

    try:
        run = train(
            options.folder,
            options.output,
            recipe,
            validation_folder=options.validation_folder,
            on_bad_image=options.on_bad_image,
            resume=options.resume,
        )
    except KeyboardInterrupt:
        print(f"\nStopped. To go on: add --resume, with --output {options.output}", file=sys.stderr)
        return 130
    print(f"The run is in {run.path}; its curves in {run.path / 'curves.png'}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    load_tensorflow_quietly()
    from keras_inception.data.sources import describe_bad, find_bad_images, read_folder, without
    from keras_inception.prediction import find_saved_model, open_predictor
    from keras_inception.training.evaluate import evaluate
    from keras_inception.training.run import open_run, read_labels

    labels = None  # a server's are seen in its answers
    if (Path(options.using) / "run.json").is_file():
        labels = open_run(options.using).labels
    elif (saved_model := find_saved_model(Path(options.using))) is not None:
        labels = tuple(read_labels(saved_model / "assets" / "labels.txt"))
    examples = read_folder(options.folder, labels)
    bad = find_bad_images(examples.paths)
    if bad:
        print(describe_bad(bad).rstrip() + "\nLeft out.")
        examples = without(examples, bad, "skip")
    with open_predictor(options.using) as predict, _progress(len(examples)) as advance:
        result = evaluate(predict, examples, batch_size=options.batch_size, advance=advance)
    if options.json:
        Path(options.json).write_text(
            json.dumps(result.as_dict(), indent=1, ensure_ascii=False), "utf-8"
        )
    _print_evaluation(result)
    return 0


def _export(options: argparse.Namespace) -> int:
    load_tensorflow_quietly()
    from inception_export.publish import export_run

    export_run(options.run, options.base, options.name, version=options.version, top=options.top)
    return 0


def _serve(options: argparse.Namespace) -> int:
    load_tensorflow_quietly()
    from inception_serving.server import serve

    serve(options.base, host=options.host, port=options.port, rest_port=options.rest_port)
    return 0


def _predict(options: argparse.Namespace) -> int:
    load_tensorflow_quietly()
    from keras_inception.prediction import draw_predictions, list_images, predict

    images = list_images(options.images)
    with _progress(len(images)) as advance:
        predictions = predict(
            images,
            options.using,
            top=options.top,
            batch_size=options.batch_size,
            advance=advance,
        )
    if options.format == "json":
        rows = [dataclasses.asdict(each) for each in predictions]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif options.format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(["image", "rank", "label", "score"])
        for each in predictions:
            for rank, (label, score) in enumerate(zip(each.labels, each.scores, strict=True), 1):
                writer.writerow([each.image, rank, label, f"{score:.6f}"])
    else:
        print_predictions(predictions)
    if options.figure:
        draw_predictions(predictions, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    failed = [each for each in predictions if each.error]
    for each in failed:
        print(f"keras-inception predict: {each.image}: {each.error}", file=sys.stderr)
    return 1 if failed else 0


def print_predictions(predictions: Sequence[Any], truths: Sequence[str] | None = None) -> None:
    """A table: image, true label if known, best classes with scores, milliseconds."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("image", overflow="fold")
    if truths:
        table.add_column("true")
    best = max((len(each.labels) for each in predictions), default=1)
    for rank in range(1, best + 1):
        table.add_column(f"top {rank}")
    table.add_column("ms", justify="right")
    for index, each in enumerate(predictions):
        cells = [
            f"{label}  {score:.3f}" for label, score in zip(each.labels, each.scores, strict=True)
        ]
        cells = cells or [f"[red]{each.error}[/red]"]
        cells += [""] * (best - len(cells))
        truth = [truths[index]] if truths else []
        table.add_row(each.image, *truth, *cells, f"{each.milliseconds:.1f}")
    Console().print(table)


def _print_evaluation(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("class")
    for heading in ("images", "recall", "precision"):
        table.add_column(heading, justify="right")
    table.add_column("taken for")
    for row, label in enumerate(result.labels):
        mistaken = [
            f"{result.labels[column]} ({count})"
            for column, count in enumerate(result.confusion[row])
            if count and column != row
        ]
        table.add_row(
            label,
            str(result.confusion[row].sum()),
            f"{result.recall[row]:.3f}",
            f"{result.precision[row]:.3f}",
            ", ".join(mistaken),
        )
    Console().print(table)
    hits = int(result.confusion.trace())
    line = f"Accuracy {result.accuracy:.4f} ({hits} of {result.images} images)"
    if result.top5_accuracy is not None:
        line += f", top 5 {result.top5_accuracy:.4f}"
    print(line)


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    settings = parser.add_argument_group("recipe", "each overrides the recipe's setting")
    hints = typing.get_type_hints(Recipe)
    for setting in dataclasses.fields(Recipe):
        flag = "--" + setting.name.replace("_", "-")
        about = setting.metadata["doc"].replace("%", "%%")
        choices = (
            [str(choice) for choice in typing.get_args(hints[setting.name])]
            if typing.get_origin(hints[setting.name]) is typing.Literal
            else None
        )
        if hints[setting.name] is bool:
            settings.add_argument(
                flag, action=argparse.BooleanOptionalAction, help=about, default=None
            )
        else:
            settings.add_argument(
                flag, choices=choices, metavar=None if choices else "X", help=about
            )


@contextlib.contextmanager
def _progress(images: int) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left on a terminal's standard error; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("images", total=images)
        yield lambda done: progress.advance(task, done)


def _is_users(error: Exception) -> bool:
    """Whether an error is one to answer in a line: a wrong value, file, address or model."""
    from inception_serving.errors import ServingError

    return isinstance(error, ValueError | OSError | ServingError)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _shape(text: str) -> tuple[int | None, int | None, int]:
    sides = [None if side == "?" else _positive(side) for side in text.lower().split("x")]
    if len(sides) != 3 or sides[2] is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no HxWxC, such as 299x299x3 or ?x?x3")
    return sides[0], sides[1], sides[2]
