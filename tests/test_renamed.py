"""Arguments that have got other names still work by their old ones."""

import inspect

import pytest

import keras_inception
from keras_inception.renamed import renamed


@renamed(say="log", how="preprocessing")
def told(line: str, *, log: list[str], preprocessing: int = 0) -> int:
    """Add a line."""
    log.append(line)
    return preprocessing


def test_an_old_name_works_and_warns_where_it_was_written() -> None:
    lines: list[str] = []
    with pytest.warns(DeprecationWarning, match=r"told\(\): `say` is now called `log`") as given:
        assert told("a", say=lines, preprocessing=2) == 2
    assert lines == ["a"]
    assert given[0].filename == __file__


def test_the_new_name_is_silent_and_documented() -> None:
    lines: list[str] = []
    assert told("b", log=lines) == 0
    assert told.__doc__ == "Add a line."
    assert list(inspect.signature(told).parameters) == ["line", "log", "preprocessing"]


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(TypeError, match="`log` and its old name"):
        told("c", log=[], say=[])


@pytest.mark.parametrize("name", ["train", "estimate"])
def test_say_is_taken_where_it_was(name: str) -> None:
    function = getattr(keras_inception, name)
    arguments = ["nowhere", "nowhere"] if name == "train" else ["nowhere"]
    with (
        pytest.warns(DeprecationWarning, match="`say` is now called `log`"),
        pytest.raises(ValueError, match="nowhere"),
    ):
        function(*arguments, say=print)
