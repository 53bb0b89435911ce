"""Fields of the server's options: documented, checked, and read from a flag's text too.

This module loads neither TensorFlow nor gRPC.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from inception_serving import errors
from inception_serving.server.config.batching_parameters import BatchingParameters
from inception_serving.server.config.tls import Tls

# `Flag.tf_serving` of a flag that is this server's own.
NO_SUCH_FLAG = "no such flag"


@dataclass(frozen=True)
class Kind:
    """A kind of values.

    Attributes:
        words: the rule, such that "expected" or "must be" may stand before it.
        holds: whether a value keeps the rule.
        read: a value from a flag's text; raises ValueError for text that is none.
    """

    words: str
    holds: Callable[[Any], bool]
    read: Callable[[str], Any] = str

    def parse(self, text: str) -> Any:
        """The value that a flag's text stands for.

        Raises:
            ValueError: there is none, or it breaks the rule.
        """
        try:
            value = self.read(text)
            if self.holds(value):
                return value
        except ValueError:
            pass
        raise ValueError(f"expected {self.words}: received {text!r}")

    def argument(self, text: str) -> Any:
        """The same for an argument of a command line.

        Raises:
            argparse.ArgumentTypeError: there is none, or it breaks the rule.
        """
        try:
            return self.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True)
class Flag:
    """A flag of `python -m inception_serving.server` that stands for an option.

    Attributes:
        name: without the dashes; tensorflow_model_server's, where it has one.
        kind: of its value; as its option's if None.
        default: its own, as a value or as text.
        convert: the option's value from the flag's; called when the server is made, since it may
            read a file.
        doc: its meaning, where it is not its option's to the word.
        tf_serving: TF Serving's default where it is another, or `NO_SUCH_FLAG`.
    """

    name: str
    kind: Kind
    default: Any
    convert: Callable[[Any], Any] = lambda value: value
    doc: str = ""
    tf_serving: str = ""


@dataclass(frozen=True)
class Option:
    """One option of the server, without its name, type and default, which the dataclass holds.

    Attributes:
        doc: its meaning.
        kind: of its value.
        none: what None stands for; "" where it may not be None.
        unit: of its value, such as "s"; "" for none.
        flags: those that stand for it; where several are given, the last one counts.
    """

    doc: str
    kind: Kind
    none: str = ""
    unit: str = ""
    flags: tuple[Flag, ...] = ()

    @property
    def rule(self) -> str:
        """What the value may be, in words."""
        unit = f", in {self.unit}" if self.unit else ""
        return f"{self.kind.words}{unit}{', or None' if self.none else ''}"

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that the option may not have.

        Raises:
            errors.OptionError: the text names the option, the rule and the value.
        """
        allowed = bool(self.none) if value is None else self.kind.holds(value)
        if not allowed:
            raise errors.OptionError(f"`{name}` must be {self.rule}. Received: {name}={value!r}")


def option(
    default: Any,
    doc: str,
    kind: Kind,
    *,
    none: str = "",
    unit: str = "",
    flag: Flag | None = None,
    file_flag: Flag | None = None,
) -> Any:
    """A field of `ServerOptions`; see `Option`."""
    flags = tuple(each for each in (flag, file_flag) if each is not None)
    return field(default=default, metadata={"option": Option(doc, kind, none, unit, flags)})


# ---- the kinds ----


def _is_number(value: Any, number: type) -> bool:
    return isinstance(value, number) and not isinstance(value, bool)


def _whole_number(words: str, allowed: range) -> Kind:
    return Kind(words, lambda value: _is_number(value, Integral) and value in allowed, int)


def _number(words: str, holds: Callable[[float], bool]) -> Kind:
    return Kind(words, lambda value: _is_number(value, Real) and holds(value), float)


def _is_list(value: Any, holds: Callable[[Any], bool]) -> bool:
    # Text is a sequence too, of letters, which nobody means.
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(holds, value))


def _is_channel_argument(value: Any) -> bool:
    is_pair = _is_list(value, lambda part: isinstance(part, str | int)) and len(value) == 2
    return is_pair and isinstance(value[0], str)


def _read_switch(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError
    return values[text.lower()]


def _read_channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    arguments: list[tuple[str, int | str]] = []
    for argument in text.split(",") if text else []:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ValueError
        try:
            arguments.append((key, int(value)))
        except ValueError:
            arguments.append((key, value))
    return tuple(arguments)


SWITCH = Kind("true or false", lambda value: isinstance(value, bool), _read_switch)
TEXT = Kind("text", lambda value: isinstance(value, str))
PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike))
PRECISION = Kind("'bfloat16'", lambda value: value == "bfloat16")
NAMES = Kind(
    "a list of names",
    lambda value: _is_list(value, lambda name: isinstance(name, str)),
    lambda text: tuple(text.split(",")),
)

PORT = _whole_number("a port, 0 to 65535", range(65536))
ANY_WHOLE = _whole_number("a whole number", range(-(2**63), 2**63))
WHOLE = _whole_number("a whole number, 0 or more", range(2**63))
POSITIVE_WHOLE = _whole_number("a whole number, 1 or more", range(1, 2**31))
NOT_NEGATIVE = _number("a number, 0 or more", lambda value: value >= 0)
POSITIVE = _number("a number above 0", lambda value: value > 0)

BATCHING = Kind(
    "true, false or BatchingParameters",
    lambda value: isinstance(value, bool | BatchingParameters),
)
TLS = Kind("a Tls", lambda value: isinstance(value, Tls))
CHANNEL_ARGUMENTS = Kind(
    "a list of pairs, each a name and a whole number or text",
    lambda value: _is_list(value, _is_channel_argument),
)
# The same as a flag's text, key=value with commas.
CHANNEL_ARGUMENTS_TEXT = Kind("key=value", lambda value: True, _read_channel_arguments)
