"""The core by itself: a deadline reaches the model, whoever gave it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from inception_serving import messages
from inception_serving.server.budget import Workspace
from inception_serving.server.core import Call, _GuardedModel
from inception_serving.server.metrics import Metrics
from inception_serving.server.model.saved_model import Signature
from inception_serving.tensors import Tensor


class Recorder:
    """A model that keeps the deadlines it is run with."""

    def __init__(self) -> None:
        self.deadlines: list[float | None] = []
        signature = messages.SignatureDef()
        signature.inputs["x"].name = "x:0"
        self.signatures: Mapping[str, Any] = {"serving_default": Signature(signature)}

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, Tensor],
        outputs: Iterable[str],
        *,
        deadline: float | None = None,
    ) -> dict[str, Tensor]:
        self.deadlines.append(deadline)
        return {}


@pytest.mark.parametrize(
    ("of_the_call", "given", "expected"),
    [
        (None, None, None),
        (5.0, None, 5.0),
        (None, 7.0, 7.0),
        (5.0, 7.0, 5.0),
        (9.0, 7.0, 7.0),
    ],
)
def test_the_earlier_deadline_counts(
    of_the_call: float | None, given: float | None, expected: float | None
) -> None:
    model = Recorder()
    call = Call(of_the_call)
    guarded = _GuardedModel(model, Metrics(), ("m", "Predict"), 0, Workspace(1 << 20), call)

    guarded.run("serving_default", {"x": np.zeros(1)}, ["y"], deadline=given)

    assert model.deadlines == [expected]
