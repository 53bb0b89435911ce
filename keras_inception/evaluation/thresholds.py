"""Thresholds: the score from which a class is predicted, where an image can be of several.

At 0.5 a class is predicted where the network thinks it likelier than not. A rare class seldom is,
and its F1 is better at a lower score (Lipton et al., arXiv:1402.1892: at half of the best F1, where
scores say how often the answers are right).
"""

from __future__ import annotations

import numpy as np

from keras_inception.evaluation.ranking import rank_classes

USUAL = 0.5


def fit_thresholds(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The threshold of each class at which its F1 is best on these images.

    It lies in the middle between the lowest score that is let in and the next, and of several that
    are as good it is the nearest to 0.5. A class of which there are no images here keeps 0.5.

    Args:
        targets: bool [images, classes].
        scores: of each class by itself, float32 [images, classes] in [0, 1].

    Returns:
        float64 [classes], above 0.
    """
    found = []
    for ranking in rank_classes(targets, scores):
        hits, answers = ranking.counts()
        if not hits[-1]:
            found.append(USUAL)
            continue
        f1 = 2 * hits / (hits[-1] + answers)
        let_in = ranking.score[ranking.ends].astype(np.float64)
        middles = (let_in + np.append(let_in[1:], 0)) / 2
        best = middles[np.isclose(f1, f1.max(), rtol=1e-12, atol=0)]
        found.append(float(best[np.abs(best - USUAL).argmin()]))
    return np.array(found)
