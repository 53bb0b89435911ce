"""The subcommand ``bench``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inception_serving.commands.arguments import (
    ADDRESS,
    add_command,
    add_connection,
    connection,
    output_file,
    positive,
    seconds,
)
from inception_serving.commands.table import print_table
from inception_serving.predictions.image_files import list_images
from inception_serving.text import one_line

if TYPE_CHECKING:
    from inception_serving import BenchResult

# What is held of the images at a time.
_MOST_BYTES = 2**28


def add(commands: Any) -> None:
    """Declare it."""
    bench = add_command(
        commands,
        "bench",
        run,
        "measure how many images a server answers, and how long each takes",
        "Several numbers of --clients or --rate are measured one after the other, a row each.",
    )
    bench.add_argument("address", metavar="HOST:PORT", help=ADDRESS)
    bench.add_argument("--model", required=True, metavar="NAME", help="the model's name there")
    bench.add_argument(
        "data",
        nargs="+",
        metavar="IMAGE_OR_FOLDER",
        help="image files, and folders for all files below them, sent in turn; the first 256 MiB",
    )
    load = bench.add_mutually_exclusive_group()
    load.add_argument(
        "--clients",
        type=_several(positive),
        metavar="N[,N...]",
        help="closed loop: so many clients, each of which asks again once it is answered (8)",
    )
    load.add_argument(
        "--rate",
        type=_several(_rate),
        metavar="R[,R...]",
        help="open loop: so many requests a second, at random moments, answered or not",
    )
    bench.add_argument(
        "--seconds", type=seconds, default=10.0, metavar="S", help="of each row (%(default)g)"
    )
    bench.add_argument(
        "--warmup", type=seconds, default=2.0, metavar="S", help="before each row (%(default)g)"
    )
    bench.add_argument(
        "--batch-size", type=positive, default=1, metavar="N", help="images a request (%(default)s)"
    )
    bench.add_argument(
        "--version", type=positive, metavar="N", help="ask this version, not the latest"
    )
    bench.add_argument(
        "--json", type=output_file, metavar="FILE", help="the file to write every request to"
    )
    bench.add_argument(
        "--figure",
        type=_picture,
        metavar="PNG|SVG",
        help="the file to draw to: times by the share of requests, and as they came",
    )
    add_connection(bench)


def run(options: argparse.Namespace) -> int:
    """Measure each load, and print the table."""
    from inception_serving import bench

    paths = list_images(options.data, lambda line: print(one_line(line), file=sys.stderr))
    images = _read(paths)
    loads: list[dict[str, Any]] = [{"rate": each} for each in options.rate or ()]
    loads = loads or [{"clients": each} for each in options.clients or (8,)]
    results = []
    for load in loads:
        name, value = next(iter(load.items()))
        print(f"{name} {value:g} ...", file=sys.stderr)
        results.append(
            bench(
                options.address,
                options.model,
                images,
                **load,
                seconds=options.seconds,
                warmup_s=options.warmup,
                batch_size=options.batch_size,
                version=options.version,
                **connection(options),
            )
        )
    print_results(results, options.address)
    if options.json:
        about = {"server": options.address, "model": options.model, "images": len(images)}
        rows = [each.as_dict() for each in results]
        Path(options.json).write_text(json.dumps(about | {"loads": rows}) + "\n", "utf-8")
    if options.figure:
        draw(results, options.figure)
        print(f"Drawn: {options.figure}", file=sys.stderr)
    return 0 if all(each.requests_per_s for each in results) else 1


def print_results(results: Sequence[BenchResult], address: str) -> None:
    """A row for each load, then the errors, and whether the client was the limit."""
    from inception_serving.client.address import read_address

    load = "clients" if results[0].clients else "rate"
    headings = [load, "requests/s", "images/s", "p50 ms", "p90 ms", "p99 ms", "errors"]
    headings.append("client busy")
    rows = []
    for each in results:
        times = [each.percentile_ms(percent) for percent in (50, 90, 99)]
        rows.append(
            (
                f"{each.clients or each.rate:g}",
                f"{each.requests_per_s:.1f}",
                f"{each.images_per_s:.1f}",
                *("-" if time is None else f"{time:.1f}" for time in times),
                str(sum(each.errors.values())),
                f"{each.loop_share:.0%}",
            )
        )
    print_table(headings, rows, right=headings)
    for each in results:
        load = _name(each)
        if each.errors:
            codes = ", ".join(f"{count} {code}" for code, count in each.errors.items())
            print(f"{load}: {codes} of {len(each.samples)} requests failed.")
        if each.client_is_the_limit:
            print(
                f"{load}: the client is the limit: its thread worked {each.loop_share:.0%} of the"
                " time, so the server may do more. Run several `bench` at a time, or one elsewhere."
            )
    if read_address(address).is_own:
        print(
            f"Server and client shared the {os.cpu_count()} processors of this machine; the client"
            f" took up to {max(each.process_share for each in results):.2f} of them."
        )


def draw(results: Sequence[BenchResult], path: str) -> None:
    """Times by the share of requests that took at most as much, and each as it came."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    shares, moments = figure.subplots(1, 2)
    for each in results:
        answered = [sample for sample in each.samples if sample.code == "OK"]
        times = [sample.seconds * 1000 for sample in answered]
        count = len(times)
        share = [100 * (rank + 1) / count for rank in range(count)]
        shares.plot(sorted(times), share, drawstyle="steps-post", label=_name(each))
        starts = [sample.start_s for sample in answered]
        # As one picture, or an SVG of many requests would be many megabytes.
        moments.plot(starts, times, ".", markersize=2, rasterized=True, label=_name(each))
    shares.set(xlabel="ms, at most", ylabel="% of the requests answered", xscale="log")
    moments.set(xlabel="s since the warm-up", ylabel="ms", ylim=(0, None))
    for axes in (shares, moments):
        axes.grid(alpha=0.3)
    shares.legend()
    figure.savefig(path, dpi=120)


def _name(result: BenchResult) -> str:
    if result.clients is not None:
        return f"{result.clients} client{'s'[: result.clients != 1]}"
    return f"{result.rate:g} requests/s"


def _read(paths: Sequence[str]) -> list[bytes]:
    from inception_serving.client.images import encode  # with NumPy

    images: list[bytes] = []
    left = _MOST_BYTES
    for path in paths:
        image = encode(path)  # whose error names the file
        left -= len(image)
        if images and left < 0:
            break
        images.append(image)
    return images


def _several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read(text: str) -> list[Any]:
        return [kind(each) for each in text.split(",")]

    return read


def _rate(text: str) -> float:
    try:
        return seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, a second") from None


def _picture(text: str) -> str:
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError(
            "figures are drawn by matplotlib, which is not installed: pip install matplotlib"
        )
    if Path(text).suffix.lower() not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a PNG or SVG, by its end")
    return output_file(text)
