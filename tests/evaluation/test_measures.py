"""What an evaluation keeps, by its names and the former ones."""

import numpy as np
import pytest

from keras_inception.evaluation.measures import Evaluation, MultiLabelEvaluation


@pytest.mark.parametrize("kind", [Evaluation, MultiLabelEvaluation])
def test_the_indices_former_name_works_and_warns(kind: type) -> None:
    result = kind(("a", "b"), np.array([3, 5]), np.array([0, 1]), np.eye(2, dtype=np.float32))
    with pytest.warns(DeprecationWarning, match="`numbers` is now called `indices`"):
        assert result.numbers is result.indices
    assert result.images == 2
