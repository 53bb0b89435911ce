"""A model on a server, asked for predictions of image files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inception_serving import errors
from inception_serving.client.client import Client
from inception_serving.client.results import Classification
from inception_serving.formats import decoder_words


class ServerPredictor:
    """What a server's model predicts; see `ImagePredictor`.

    Raises:
        errors.ServingError: the server is not there, or has no such model.
    """

    def __init__(self, client: Client) -> None:
        known = client.metadata()
        self.about: dict[str, Any] = {
            "kind": "server", "model": known.name, "version": known.version
        }  # fmt: skip
        self.thresholds: dict[str, float] = {}  # which no server tells
        self._client = client

    def best(self, encoded: Sequence[bytes]) -> list[Classification]:
        return self._client.predict(list(encoded))

    def refusal(self, error: Exception) -> str | None:
        if isinstance(error, errors.ImageError | errors.InvalidArgumentError):
            return decoder_words(errors.without_nodes(str(error)))
        return None
