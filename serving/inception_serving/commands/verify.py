"""The subcommand ``verify``, which is ``verify-serving`` of ``keras-inception``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_serving.commands.arguments import (
    ADDRESS,
    add_command,
    add_connection,
    add_version,
    connection,
    output_file,
)
from inception_serving.commands.table import print_table

if TYPE_CHECKING:
    from inception_serving.client.verify_serving import ServingVerification


def add(commands: Any, name: str = "verify") -> None:
    """Declare it, by a name."""
    verify = add_command(
        commands,
        name,
        run,
        "hold a running server's answers against those that the export recorded",
        "Every signature is asked about the export's own pictures. The exit code is 0 where all"
        " answers agree, and 1 otherwise.",
    )
    verify.add_argument("address", metavar="HOST:PORT", help=ADDRESS)
    verify.add_argument("--model", required=True, metavar="NAME", help="the model's name there")
    verify.add_argument(
        "--export",
        required=True,
        metavar="DIR",
        help="the export that it should serve: BASE/NAME/VERSION, or BASE/NAME for the largest",
    )
    add_version(verify)
    verify.add_argument(
        "--precision",
        metavar="NAME",
        help="the server's arithmetic, where it is another than the export's: tf32 (GPUs, unless"
        " told otherwise), bfloat16 (--mixed_precision=bfloat16), float16; answers may differ by"
        " as much",
    )
    verify.add_argument(
        "--json", type=output_file, metavar="FILE", help="the file to write the table to"
    )
    add_connection(verify)


def run(options: argparse.Namespace) -> int:
    """Verify, and print the table."""
    from inception_serving.client.verify_serving import verify_serving

    found = verify_serving(
        options.address,
        options.model,
        options.export,
        version=options.version,
        version_label=options.label,
        precision=options.precision,
        **connection(options),
    )
    if options.json:
        values = {"ok": found.ok, **found.about, "notes": list(found.notes)}
        values["checks"] = [dataclasses.asdict(check) for check in found.checks]
        Path(options.json).write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    print_verification(found)
    return 0 if found.ok else 1


def print_verification(found: ServingVerification) -> None:
    """A line for each output of each signature, and what comes of all."""
    headings = ("signature", "outputs", "pictures", "largest difference", "allowed", "answer")
    rows = []
    for check in found.checks:
        share = "" if check.unit == "score" else " of the largest"
        rows.append(
            (
                check.signature,
                check.outputs,
                str(check.pictures),
                "-" if check.difference is None else f"{check.difference:.1e}{share}",
                f"{check.allowed:.0e}{share}",
                check.problem or "same",
            )
        )
    print_table(headings, rows, right=headings[2:5])
    about = found.about
    for note in found.notes:
        print(note)
    whose = f"{about['model']} version {about['version']} on {about['server']}"
    if found.ok:
        print(f"{whose} answers as {about['export']} did when it was exported.")
    else:
        failed = sum(bool(check.problem) for check in found.checks)
        print(f"{whose} does not answer as {about['export']}: {failed} of {len(found.checks)}.")
