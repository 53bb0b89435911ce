"""A Beam pipeline that scores images with an export: a file pattern in, Parquet out.

    python serving/beam/score.py --export models/photos/1 --images 'PHOTOS/**' --output scores/may

writes `scores/may-00000-of-00001.parquet` and its like, a row an image, with `path` (string),
`classes` (strings, best first) and `scores` (float32), and `scores/may-failed-...parquet`, with
`path` and `error`, for the images that could not be scored. The rows are in no order.

Other options are Beam's own, the runner first of all: `--direct_running_mode=multi_processing
--direct_num_workers=4` for the processors of this machine, `--runner=FlinkRunner`, `SparkRunner` or
`DataflowRunner` for many machines, where `--images`, `--export` and `--output` lie on a file system
that all of them reach, such as `gs://`, and each has what requirements.txt names.

The answers appear at the end, all at once: a run that was killed leaves none, but for a folder
`beam-temp-...` to delete, and is run again. (A runner of many machines repeats what a lost machine
had, and not the rest.) Nothing of this project is imported, since Beam and it need different
versions of protobuf: the SavedModel is all they share.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io import fileio, filesystems, parquetio
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

SCORED = pa.schema(
    [("path", pa.string()), ("classes", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))]
)
FAILED = pa.schema([("path", pa.string()), ("error", pa.string())])


# The answer for an image: `classes`, best first, and `scores`; or the `error`. A dictionary, since
# a class of this file could not be sent from one worker to another.
Answer = dict[str, Any]


class ExportHandler(ModelHandler[bytes, Answer, Any]):
    """A SavedModel whose signature takes encoded images and gives `classes` and `scores`.

    Beam's own TensorFlow handler calls `keras.models.load_model`, which takes no SavedModel under
    Keras 3.
    """

    def __init__(self, export: str, *, signature: str, batch_size: int) -> None:
        """Nothing is loaded here: a runner sends the handler to its workers.

        Args:
            export: the folder of one version.
            signature: one that has one input, string [batch].
            batch_size: images in a batch, at most; the export was warmed up for its own.
        """
        super().__init__()
        self._export = export
        self._signature = signature
        self._batch_size = batch_size

    def load_model(self) -> Any:
        """The SavedModel, once a worker."""
        import tensorflow as tf

        return tf.saved_model.load(self._export)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Beam's sizes of a batch."""
        return {"min_batch_size": 1, "max_batch_size": self._batch_size}

    def run_inference(
        self, batch: Sequence[bytes], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Answer]:
        """An answer for each image, in their order."""
        import tensorflow as tf

        try:
            return self._score(batch, model)
        except tf.errors.InvalidArgumentError as error:
            # One that can't be decoded spoils its batch: each by itself, then.
            if len(batch) == 1:
                return [{"error": _reason(error.message)}]
        return [answer for image in batch for answer in self.run_inference([image], model)]

    def _score(self, batch: Sequence[bytes], model: Any) -> list[Answer]:
        import tensorflow as tf

        call = model.signatures[self._signature]
        (name,) = call.structured_input_signature[1]
        outputs = call(**{name: tf.constant(list(batch), tf.string)})
        return [
            {"classes": [each.decode() for each in classes], "scores": scores.tolist()}
            for classes, scores in zip(
                outputs["classes"].numpy(), outputs["scores"].numpy(), strict=True
            )
        ]


def _reason(message: str) -> str:
    """The operation's own words, which stand before the name of its node."""
    return message.partition("\n\t [[{{node")[0].splitlines()[-1]


def to_text(path: str) -> str:
    """A path as it can be written, a byte of it that is no UTF-8 as ``\\udcfc``."""
    return path.encode("utf-8", "backslashreplace").decode()


def to_row(keyed: tuple[str, Answer]) -> Any:
    """An image's row, with its path; that of one that failed goes by the tag `failed`."""
    path, answer = keyed
    row = {"path": path, **answer}
    return beam.pvalue.TaggedOutput("failed", row) if "error" in answer else row


def build(pipeline: beam.Pipeline, options: argparse.Namespace) -> None:
    """Add the steps to a pipeline."""
    handler = ExportHandler(
        options.export, signature=options.signature, batch_size=options.batch_size
    )
    rows = (
        pipeline
        | "find" >> fileio.MatchFiles(options.images)
        # Otherwise whoever found the files reads and scores them all.
        | "spread" >> beam.Reshuffle()
        | "read" >> fileio.ReadMatches()
        | "load" >> beam.Map(lambda file: (to_text(file.metadata.path), file.read()))
        | "score" >> RunInference(KeyedModelHandler(handler))
        | "to rows" >> beam.Map(to_row).with_outputs("failed", main="scored")
    )
    for name, schema, suffix in (("scored", SCORED, ""), ("failed", FAILED, "-failed")):
        _ = rows[name] | f"write {name}" >> parquetio.WriteToParquet(
            options.output + suffix, schema, file_name_suffix=".parquet", codec="zstd"
        )


def find_problem(export: str, signature: str) -> str:
    """What is wrong with an export or a signature, before any image is read; "" for nothing."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    systems = filesystems.FileSystems
    graph = systems.join(export, "saved_model.pb")
    rule = "--export must be the folder of one version, BASE/NAME/VERSION, with its saved_model.pb"
    if not systems.exists(graph):
        return f"{rule}. Received: {export}"
    with systems.open(graph) as file:
        try:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
        except DecodeError:
            return f"{rule}, which is damaged. Received: {export}"
    known = {name: each for meta in saved.meta_graphs for name, each in meta.signature_def.items()}
    fit = [
        name
        for name, each in sorted(known.items())
        if len(each.inputs) == 1 and {"classes", "scores"} <= set(each.outputs)
    ]
    if signature in fit:
        return ""
    return (
        "--signature must take one input and give classes and scores, as these do:"
        f" {', '.join(fit) or 'none'}. Received: {signature}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the pipeline to its end."""
    parser = argparse.ArgumentParser(
        description="Score images with an export, on any of Beam's runners.",
        epilog="Further options are Beam's own, such as --runner=FlinkRunner.",
    )
    parser.add_argument("--export", required=True, help="BASE/NAME/VERSION")
    parser.add_argument("--images", required=True, help="a file pattern; ** goes into folders")
    parser.add_argument("--output", required=True, help="what the names of the files begin with")
    parser.add_argument("--signature", default="serving_default", help="(%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="at most (%(default)s)")
    options, of_beam = parser.parse_known_args(arguments)
    systems = filesystems.FileSystems
    if options.batch_size < 1:
        parser.error(f"--batch-size must be 1 or more. Received: {options.batch_size}")
    if problem := find_problem(options.export, options.signature):
        parser.error(problem)
    if not systems.match([options.images], [1])[0].metadata_list:
        parser.error(f"--images matches no file. Received: {options.images}")
    if systems.match([f"{options.output}*.parquet"], [1])[0].metadata_list:
        # Another number of shards would leave some of the old ones among the new.
        parser.error(f"--output must not be there yet. Received: {options.output}")
    with beam.Pipeline(options=PipelineOptions(of_beam, save_main_session=True)) as pipeline:
        build(pipeline, options)


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.WARNING)
    main()
