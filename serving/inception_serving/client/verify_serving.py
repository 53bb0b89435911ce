"""A running server's answers held against those that the export recorded when it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inception_serving.client.client import Client
from inception_serving.client.export_record import RecordedAnswers, read_export_record
from inception_serving.client.results import kind_of
from inception_serving.errors import AnswerError, ServingError, StatusError
from inception_serving.messages import Example


@dataclass(frozen=True)
class Tolerance:
    """How far answers may differ.

    Attributes:
        scores: of a score or probability.
        values: of a logit or feature, as a share of the largest one recorded.
    """

    scores: float
    values: float


# By the precision of the server's arithmetic, which is the export's unless the server is told
# otherwise. A GPU computes float32 as TF32 (10 bits of mantissa, float16's) unless told otherwise.
TOLERANCES = {
    "float32": Tolerance(1e-4, 1e-3),
    "tf32": Tolerance(2e-2, 2e-2),
    "float16": Tolerance(2e-2, 2e-2),
    "bfloat16": Tolerance(1e-1, 5e-2),
    "int8": Tolerance(1e-1, 1e-1),
}
_WIDEST = "bfloat16"


@dataclass(frozen=True)
class Check:
    """One output of one signature, or two that belong together.

    Attributes:
        signature: its name.
        outputs: what was compared, such as ``"classes, scores"``.
        pictures: on how many.
        difference: the largest one found; ``None`` where nothing could be compared.
        allowed: the largest that passes.
        unit: what both are of: a score, or the largest value.
        problem: why it does not hold; empty if it does.
    """

    signature: str
    outputs: str
    pictures: int
    difference: float | None
    allowed: float
    unit: str
    problem: str = ""


@dataclass(frozen=True)
class ServingVerification:
    """A server's answers, compared.

    Attributes:
        checks: one for each output of each signature.
        about: the server's address, model and version, the export's folder, version and precision.
        notes: what else is to be known, a line each.
    """

    checks: Sequence[Check]
    about: dict[str, Any]
    notes: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return not any(check.problem for check in self.checks)


def verify_serving(
    address: str,
    model: str,
    export: str | Path,
    *,
    version: int | None = None,
    version_label: str | None = None,
    precision: str | None = None,
    timeout_s: float = 60.0,
    **options: Any,
) -> ServingVerification:
    """Ask a server about the pictures of an export, and compare every signature's answers.

    Args:
        address: of TF Serving or another server of its API; see `Client`.
        model: its name there.
        export: the export that it should serve, ``BASE/NAME/VERSION`` or ``BASE/NAME``.
        version, version_label: which version is asked; by default the server's latest.
        precision: of the server's arithmetic, one of ``TOLERANCES``, where it is told to compute in
            another than the export's.
        timeout_s: of each request, in seconds.
        options: the connection's, see `Client`.

    Raises:
        ValueError: the folder is no export, it has no record, or there is no such precision.
        errors.ServingError: the server is not there, or has no such model.
    """
    found = read_export_record(export)
    record = found.recorded
    tolerance = _tolerance(precision, found.precision)
    with Client(
        address, model, version=version, version_label=version_label, timeout_s=timeout_s, **options
    ) as client:
        known = client.metadata()
        checks = [
            check
            for signature in record.answers
            for check in _check(client, signature, record, tolerance)
        ]
    notes = []
    if found.version is not None and known.version != found.version:
        notes.append(
            f"The server answers with version {known.version}, and the export is version"
            f" {found.version}."
        )
    if more := sorted(set(known.signatures) - set(record.answers)):
        notes.append(f"Not in the export's record, so not compared: {', '.join(more)}.")
    about = {
        "server": address,
        "model": model,
        "version": known.version,
        "export": str(found.path),
        "export_version": found.version,
        "precision": precision or found.precision,
    }
    return ServingVerification(checks, about, notes)


def _tolerance(given: str | None, own: str) -> Tolerance:
    if given is not None and given not in TOLERANCES:
        raise ValueError(
            f"`precision` must be one of {', '.join(map(repr, TOLERANCES))}."
            f" Received: precision={given!r}"
        )
    return TOLERANCES.get(given or own, TOLERANCES[_WIDEST])


def _check(
    client: Client, signature: str, record: RecordedAnswers, tolerance: Tolerance
) -> Iterator[Check]:
    recorded = record.answers[signature]
    ranked = {"classes", "scores"} <= set(recorded)
    outputs = ["classes, scores"] if ranked else list(recorded)
    pictures = len(record.pictures)
    answers, problem = {}, ""
    try:
        answers = _ask(client, signature, record)
    except ServingError as error:
        code = f"{error.code}: " if isinstance(error, StatusError) else ""
        problem = f"{code}{' '.join(str(error).split())}"
    for output in outputs:
        is_score = ranked or output == "probabilities"
        allowed = tolerance.scores if is_score else tolerance.values
        unit = "score" if is_score else "largest value"
        difference, why = None, problem
        if not problem and ranked:
            difference, why = _compare_ranked(recorded, answers, _names(record))
        elif not problem:
            difference, why = _compare_values(recorded[output], answers.get(output))
            if difference is not None and not is_score:
                difference /= float(np.abs(recorded[output]).max()) or 1.0
        if not why and not (difference is not None and difference <= allowed):
            why = "differs"
        yield Check(signature, output, pictures, difference, allowed, unit, why)


def _ask(client: Client, signature: str, record: RecordedAnswers) -> dict[str, np.ndarray]:
    """The server's answers to all pictures, by output: [pictures, ...].

    Raises:
        errors.ServingError: it has no such signature, or refuses the pictures.
    """
    if signature == "predict_images":  # one size a request
        asked: list[tuple[str, Any]] = [("images", pixels[np.newaxis]) for pixels in record.pixels]
    elif signature == "classify":
        asked = [("inputs", [_example(picture) for picture in record.pictures])]
    else:
        asked = [("image_bytes", list(record.pictures))]
    parts = [client.predict_tensors({name: value}, signature=signature) for name, value in asked]
    try:
        return {
            name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]
        }
    except ValueError:
        raise AnswerError("answers of one picture have another shape than another's") from None


def _example(picture: bytes) -> bytes:
    """A serialized tf.Example, as the signature ``classify`` takes it."""
    example = Example()
    example.features.feature["image/encoded"].bytes_list.value.append(picture)
    return bytes(example.SerializeToString())


def _names(record: RecordedAnswers) -> set[bytes] | None:
    """All class names, where the record has them."""
    every = record.answers.get("all_classes")
    return None if every is None else set(every["classes"].ravel().tolist())


def _compare_ranked(
    recorded: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray], names: set[bytes] | None
) -> tuple[float | None, str]:
    """The largest difference between scores of the same class, or the problem.

    A class that one side does not name, since others came before it, has at most the least score
    that the side gives.
    """
    if not {"classes", "scores"} <= set(answers):
        return None, f"answers {', '.join(sorted(answers))}, not classes and scores"
    if answers["classes"].dtype.kind not in "OS" or not _is_real(answers["scores"]):
        kinds = " and ".join(kind_of(answers[name]) for name in ("classes", "scores"))
        return None, f"answers {kinds}, not strings and numbers"
    shape, answered = recorded["classes"].shape, answers["classes"].shape
    if shape != answered or shape != answers["scores"].shape:
        return None, f"answers {list(answered)} classes, and the export {list(shape)}"
    largest = 0.0
    rows = zip(
        recorded["classes"], recorded["scores"], answers["classes"], answers["scores"], strict=True
    )
    for row in rows:
        here = dict(zip(row[0].tolist(), row[1].tolist(), strict=True))
        there = dict(zip(row[2].tolist(), row[3].tolist(), strict=True))
        if names is not None and (unknown := set(there) - names):
            name = min(unknown).decode(errors="replace")
            return None, f"answers the class {name!r}, which the export does not have"
        for name in {*here, *there}:
            mine, theirs = here.get(name), there.get(name)
            if mine is None:
                difference = max(0.0, there[name] - min(here.values()))
            elif theirs is None:
                difference = max(0.0, mine - min(there.values()))
            else:
                difference = abs(mine - theirs)
            if not np.isfinite(difference):
                return None, "answers scores that are no numbers"
            largest = max(largest, difference)
    return largest, ""


def _is_real(tensor: np.ndarray) -> bool:
    return tensor.dtype.kind in "fiuV"  # V: bfloat16


def _compare_values(recorded: np.ndarray, answered: np.ndarray | None) -> tuple[float | None, str]:
    if answered is None:
        return None, "is not among the answers"
    if not _is_real(answered):
        return None, f"answers {kind_of(answered)}, not numbers"
    if answered.shape != recorded.shape:
        return None, f"answers {list(answered.shape)}, and the export {list(recorded.shape)}"
    difference = float(np.abs(answered.astype(np.float64) - recorded).max())
    return (difference, "") if np.isfinite(difference) else (None, "answers no numbers")
