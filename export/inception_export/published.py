"""The export of a published network, or of a file of weights, without a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inception_export.options import ExportOptions
from inception_export.publish import export_saved_model
from keras_inception.published.network import open_network


def export_published(
    weights: str | os.PathLike[str],
    base: str | Path,
    name: str,
    *,
    network: str | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: str | None = None,
    ema: bool = False,
    options: ExportOptions | None = None,
    log: Callable[[str], None] = print,
    **changes: Any,
) -> Path:
    """Export a network with weights that others published, as it was measured.

    Args:
        weights, network, labels, preprocessing, ema: as
            :func:`keras_inception.published.network.open_network` has them:
            ``"imagenet:InceptionV4"``, or a file and ``network="InceptionV4"``.
        base, name, options, log, changes: as :func:`~inception_export.publish.export_saved_model`
            has them.

    Returns:
        The version's folder.

    Raises:
        ValueError: the weights can't be read, or what is not known of them was not given.
        DownloadError: a download failed.
        ExportError: see :func:`~inception_export.publish.export_saved_model`.
    """
    opened = open_network(weights, network, labels=labels, preprocessing=preprocessing, ema=ema)
    log(f"{opened.about['network']} with the weights {opened.about['name']}")
    return export_saved_model(
        opened.model,
        base,
        name,
        labels=opened.labels,
        preprocessing=opened.preprocessing,
        options=options,
        record={"weights": opened.about},
        log=log,
        **changes,
    )
