"""Exports whose check starts no process."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def checked(checked_here: None) -> None:
    """In every module here."""
