"""The table of the server's options in serving/README.md, written from `ServerOptions`.

python -m inception_serving.server.options_table
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from inception_serving.server.fields import NO_SUCH_FLAG, Flag
from inception_serving.server.options import ServerOptions, describe

_HEAD = ("option", "meaning", "may be", "default", "flag")


def options_table() -> str:
    """A row an option, in Markdown."""
    rows = [_HEAD, ("---",) * len(_HEAD), *_rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rows() -> Iterator[tuple[str, ...]]:
    defaults = ServerOptions()
    for each in dataclasses.fields(ServerOptions):
        option = describe()[each.name]
        meaning = option.doc + (f"; None: {option.none}" if option.none else "")
        flags = ", ".join(_flag(flag) for flag in option.flags) or "none"
        default = _code(getattr(defaults, each.name))
        yield f"`{each.name}`", meaning, option.rule, default, flags


def _flag(flag: Flag) -> str:
    if flag.tf_serving == NO_SUCH_FLAG:
        note = " (not TF Serving's)"
    else:
        note = f" (TF Serving: {flag.tf_serving})" if flag.tf_serving else ""
    default = "" if flag.default in (None, "") else f"={_text(flag.default)}"
    return f"`--{flag.name}{default}`{note}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(value: Any) -> str:
    return f"`{value!r}`"


if __name__ == "__main__":
    print(options_table())
