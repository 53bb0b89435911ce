"""``keras-inception data check``, ``data records``, ``data convert`` and ``data index``."""

from __future__ import annotations

import argparse
import csv
from typing import TYPE_CHECKING, Any

from inception_serving.server.startup import load_tensorflow_quietly
from keras_inception.commands.arguments import add_command, positive, seed, share
from keras_inception.commands.console import progress

if TYPE_CHECKING:
    from keras_inception.data.examples import Examples
    from keras_inception.data.sources.source import Source

SOURCE = (
    "a folder with a folder for each class; a .csv, .tsv or .txt of path and label; a folder or"
    " pattern of TFRecords, in quotes; an .npz; an IDX file of images; keras:NAME; tfds:NAME; and"
    " /SPLIT after what has splits (see docs/data.md)"
)


def add(commands: Any) -> None:
    """Declare them."""
    data = commands.add_parser(
        "data",
        help="check images before training, write them as TFRecords",
        description="Check images before training, write them as TFRecords.",
    )
    inner = data.add_subparsers(title="commands", dest="data", required=True)
    _add_check(inner)
    records = add_command(
        inner,
        "records",
        run_records,
        "write images as TFRecord shards",
        "The bytes of image files are kept as they are. Interrupted, the same command goes on.",
    )
    records.add_argument("source", metavar="DATA", help=SOURCE)
    records.add_argument("output", metavar="FOLDER", help="the folder to write to, made here")
    records.add_argument(
        "--shards",
        type=positive,
        metavar="N",
        help="how many files; by default one for 1,000 images",
    )
    records.add_argument(
        "--validation-fraction",
        type=share,
        default=0.0,
        metavar="X",
        help="the share of each class to write as a split `validation` (%(default)s)",
    )
    records.add_argument("--seed", type=seed, default=0, help="the seed of the order and the split")
    add_data_options(records)
    convert = add_command(
        inner,
        "convert",
        run_convert,
        "copy a folder, images that are not read converted",
        "AVIF, TIFF, JPEG 2000, BMP with a palette and others become JPEG or PNG; HEIC too, after"
        " `pip install pillow-heif`. The exit code is 1 if one can't be converted.",
    )
    convert.add_argument("source", metavar="FOLDER", help="of images, or with folders of classes")
    convert.add_argument("output", metavar="COPY", help="the folder to write to, made here")
    index = add_command(
        inner,
        "index",
        run_index,
        "keep an index beside TFRecords, so that opening them takes no time",
        "Without one, they are read through once each time.",
    )
    index.add_argument("source", metavar="DATA", help="a folder of TFRecords, or a pattern")


def _add_check(inner: Any) -> None:
    check = add_command(
        inner,
        "check",
        run_check,
        "show what training would find",
        "Decodes every image. The exit code is 1 if one can't be decoded.",
    )
    check.add_argument("source", metavar="DATA", help=SOURCE)
    check.add_argument(
        "--list", action="store_true", help="name every file that can't be decoded, not ten"
    )
    check.add_argument(
        "--near-duplicates",
        nargs="?",
        const="",
        metavar="DATA",
        help="name pairs of images that look alike, byte-identical copies among them: of these, or"
        " with DATA, such as a test set, between these and those",
    )
    add_encoding(check)


def add_encoding(command: argparse.ArgumentParser) -> None:
    """Declare how a table is read, for every command that takes a source of images."""
    command.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of a table that is neither UTF-8 nor UTF-16, such as gbk or cp1252",
    )
    command.add_argument(
        "--label-columns",
        type=_columns,
        default=(),
        metavar="NAMES",
        help="columns of a table that are classes, a,b,c, where not all columns of 0 and 1 are",
    )


def _columns(text: str) -> tuple[str, ...]:
    """Names parted by commas; one with a comma in it stands in quotes, as in a table."""
    (names,) = csv.reader([text], skipinitialspace=True)
    found = tuple(name.strip() for name in names if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"must name a column at least, a,b,c: received {text!r}")
    return found


def given_source(source: str, options: argparse.Namespace) -> Source:
    """The source that a command was given, with how its table is read."""
    if options.encoding is None and not options.label_columns:
        return source
    from keras_inception.data.sources.table import Table

    return Table(source, options.encoding, options.label_columns)


def add_data_options(command: argparse.ArgumentParser) -> None:
    """Declare how a source is read and checked, for every command that prepares one."""
    add_encoding(command)
    command.add_argument(
        "--on-bad-image",
        choices=["skip", "refuse"],
        default="skip",
        help="leave out and name images that can't be decoded (the default), or refuse the data",
    )
    command.add_argument(
        "--check-images",
        choices=["auto", "all", "none"],
        default="auto",
        help="decode every image once before; auto: up to 20,000 images; none: only those to"
        " validate on. Of others, those that can't be decoded are left out as they come",
    )


def run_check(options: argparse.Namespace) -> int:
    """Open the source, inspect every image, and print what training would find."""
    load_tensorflow_quietly()
    from keras_inception.data.examples import listed
    from keras_inception.data.preparation.balance import draw_counts
    from keras_inception.data.preparation.inspection import describe_bad, left_empty, without
    from keras_inception.data.preparation.messages import (
        report_copies,
        report_exif_rotated,
        report_kinds,
    )
    from keras_inception.data.preparation.prepare import inspect_all
    from keras_inception.data.sources.source import open_source, with_split
    from keras_inception.data.text import one_line

    examples = open_source(given_source(options.source, options))
    bad, seen = inspect_all(examples.images, _refused_by_a_server)
    kept = without(examples, bad)
    images = examples.take(kept)
    several = "; an image can be of any number of them" if examples.multi_label else ""
    print(f"{len(images)} images of {len(images.labels)} classes{several}")
    print(draw_counts(images))
    for note in examples.notes:
        print(note)
    if seen.formats:
        kinds = [f"{count} {name}" for name, count in seen.formats.most_common()]
        print(f"Formats: {', '.join(kinds)}")
    if images.groups is not None:
        print(f"Groups: {len(set(images.groups.tolist()))}")
    if images.splits:
        base, _ = with_split(options.source)
        print(one_line(f"Other splits: {', '.join(f'{base}/{split}' for split in images.splits)}"))
    report_kinds([seen], print)
    report_exif_rotated(examples.images, seen.exif_rotated, print)
    report_copies(images, seen.digests[kept], print)
    if options.near_duplicates is not None:
        _report_near_duplicates(images, options)
    if seen.refused:
        print(
            f"Images that training decodes and a server of ours refuses: {len(seen.refused)},"
            f" such as {one_line(seen.refused[0].name)}: {seen.refused[0].reason}"
        )
    if not bad:
        if not seen.refused:
            print("Every image can be decoded.")
        return 0
    print(describe_bad(bad, len(bad) if options.list else 10).rstrip())
    if len(bad) > 10 and not options.list:
        print("To name them all: --list")
    if any(" is not read; convert it" in image.reason for image in bad):
        print("To convert them all: keras-inception data convert FOLDER COPY")
    empty = left_empty(examples, kept)
    if empty:
        print(f"No image is left of {listed(empty)}, so training refuses the data.")
    return 1


def _report_near_duplicates(images: Examples, options: argparse.Namespace) -> None:
    from keras_inception.data.preparation.near_duplicates import report_near_duplicates
    from keras_inception.data.sources.source import open_source

    given = options.near_duplicates
    others = open_source(given_source(given, options), images.labels) if given else None
    report_near_duplicates(images, others, print, progress)


def _refused_by_a_server(content: bytes) -> str:
    """Why a server refuses an image before it decodes it; ``""`` if it does not."""
    import numpy as np

    from inception_serving.errors import InvalidArgumentError
    from inception_serving.server.model.image_size import check_images
    from inception_serving.server.options import ServerOptions

    try:
        check_images({"": np.array([content], object)}, ServerOptions().max_image_pixels)
    except InvalidArgumentError as error:
        return str(error).partition(": ")[2]
    return ""


def run_records(options: argparse.Namespace) -> int:
    """Write training images, and validation images if there are any."""
    load_tensorflow_quietly()
    from keras_inception.data.preparation.prepare import prepare
    from keras_inception.data.sources.write_records import write_records

    prepared = prepare(
        given_source(options.source, options),
        validation_fraction=options.validation_fraction,
        seed=options.seed,
        on_bad_image=options.on_bad_image,
        check_images=options.check_images,
    )
    splits = {"train": prepared.training}
    if len(prepared.validation):
        splits["validation"] = prepared.validation
    with progress(sum(map(len, splits.values()))) as advance:
        written = write_records(
            splits, options.output, shards=options.shards, seed=options.seed, advance=advance
        )
    for split, paths in written.items():
        size = sum(path.stat().st_size for path in paths)
        files = "1 shard" if len(paths) == 1 else f"{len(paths)} shards"
        print(f"{split}: {len(splits[split])} images in {files}, {size / 1e6:.1f} MB")
    print(f"To train on them: keras-inception train {options.output} --output RUN")
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Copy a folder and convert in it what is not read."""
    load_tensorflow_quietly()
    from keras_inception.data.preparation.convert import convert_folder
    from keras_inception.data.preparation.inspection import describe_bad

    done = convert_folder(options.source, options.output)
    print(f"{options.output}: {done.copied} files copied, {done.converted} converted")
    if done.left:
        print(describe_bad(done.left).rstrip() + "\nLeft out.")
    return int(bool(done.left))


def run_index(options: argparse.Namespace) -> int:
    """Read the shards once and keep where each record stands."""
    load_tensorflow_quietly()
    from keras_inception.data.sources.records import write_index
    from keras_inception.data.sources.source import open_source

    examples = open_source(options.source)
    print(f"{write_index(examples)}: {len(examples)} images of {len(examples.labels)} classes")
    return 0
