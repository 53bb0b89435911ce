"""``keras-inception report``."""

from __future__ import annotations

import argparse
from typing import Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, output_file, positive
from keras_inception.commands.console import progress
from keras_inception.commands.data import add_encoding, given_source


def add(commands: Any) -> None:
    """Declare it."""
    report = add_command(
        commands,
        "report",
        run,
        "write a run's report: one HTML file with curves, measures and the worst mistakes",
        "Training writes RUN/report.html at its end; this writes it again, on other images or with"
        " more in it.",
    )
    report.add_argument("run_folder", metavar="RUN", help="a finished run")
    report.add_argument(
        "--output",
        type=output_file,
        metavar="FILE",
        help="the file to write; by default RUN/report.html",
    )
    report.add_argument(
        "--data",
        metavar="DATA",
        help="measure on these images, FOLDER/CLASS/IMAGE or another source of images, and not on"
        " those that the run was validated on",
    )
    add_encoding(report)
    report.add_argument(
        "--grad-cam",
        action="store_true",
        help="show with each mistake where the network saw the class that it got wrong",
    )
    report.add_argument(
        "--batch-size",
        type=positive,
        default=32,
        help="how many images to measure at a time (%(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Write it, and say where it is."""
    load_tensorflow_quietly()
    from keras_inception.data.sources.source import open_source
    from keras_inception.report.report import write_report
    from keras_inception.runs.run import open_run

    opened = open_run(options.run_folder)
    examples = None
    if options.data:
        examples = open_source(given_source(options.data, options), opened.labels)
        for note in examples.notes:
            print(note)
    path = write_report(
        opened,
        options.output,
        examples=examples,
        measured_on=options.data,
        grad_cam=options.grad_cam,
        batch_size=options.batch_size,
        progress=progress,
    )
    print(f"Written: {path}")
    return 0
