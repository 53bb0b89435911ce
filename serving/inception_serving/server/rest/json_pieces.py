"""Large JSON, read in pieces, between which other requests have their turn.

Python's own reader is fast, but nothing else runs in the process until it has read the whole of a
text: half a second for 16 MB of numbers. Here it reads some hundred values at a time, and what
holds them is put together outside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from inception_serving import errors
from inception_serving.server.received.in_parts import after_blanks, find
from inception_serving.server.received.pauses import let_others_run, one_at_a_time
from inception_serving.server.rest.json_parser import Repeated, make_object

# A row has as many members as a signature has inputs; and a dictionary is made in one go.
_MOST_MEMBERS = 1 << 16
_MOST_LEVELS = 100_000  # each takes some memory
_MOST_LETTERS = 1 << 20  # of a name

_BLANK = r"[ \n\r\t]{0,64}+"
_TEXT = r'"[^"\\]{0,1024}+"'
_LIST = r'\[[^\]\[{}"]{0,2048}+\]'
_OBJECT = r'\{(?:[^\]\[{}"]{1,32}+|"[^"\\]{0,64}+"|\[[^\]\[{}"]{0,256}+\]){0,32}+\}'
_ITEM = rf'{_BLANK}(?:[^\]\[{{}}", \n\r\t]{{1,64}}+|{_TEXT}|{_LIST}|{_OBJECT}){_BLANK},'
# Values whose ends are plain to see, with the comma behind each. Whether they are right is for
# Python's reader to say.
_ITEMS = re.compile(rf"(?:{_ITEM}){{1,256}}+")
_MEMBERS = re.compile(rf"(?:{_BLANK}{_TEXT}{_BLANK}:{_ITEM}){{1,256}}+")
# A part of a string, which ends within no escape, nor within a character in two of them.
_PART = re.compile(
    r'(?:[^"\\]{1,256}+|\\[^u]'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}){1,256}+"
)
_READ_AT_ONCE = 1 << 13  # characters of numbers, which take some tenths of a millisecond
_NUMBER_CHARACTERS = 1 << 13
_PART_CHARACTERS = 1 << 17  # of a string without escapes, which is most of a body of images

_DECODER: Any = json.JSONDecoder(object_pairs_hook=make_object)
_scan_value = _DECODER.scan_once


def parse(text: str, at: int) -> Any:
    """The value that begins at a place, as `json.JSONDecoder.raw_decode` gives it.

    Raises:
        ValueError: there is none, or it is nested too deeply.
        errors.InvalidArgumentError: it has an object of too many members.
    """
    try:
        return _parse(text, at)
    except (StopIteration, IndexError):  # which are what a scanner raises where nothing begins
        raise ValueError("no value") from None


def _parse(text: str, at: int) -> Any:
    lists: list[list[Any]] = []  # those that are open; of an object its pairs
    keys: list[str | None] = []  # of the value that is next in each; None in a list
    pause_at = at + _READ_AT_ONCE
    while True:
        if at >= pause_at:
            let_others_run()
            pause_at = at + _READ_AT_ONCE
        at = after_blanks(text, at)
        opened = text[at]
        value: Any
        if opened in "[{":
            inside = after_blanks(text, at + 1)
            if text[inside] != ("]" if opened == "[" else "}"):
                if len(lists) == _MOST_LEVELS:
                    raise ValueError("too deep")
                lists.append([])
                keys.append(None if opened == "[" else "")
                at = _read_run(text, inside, lists[-1], keys)
                continue
            value, at = ([] if opened == "[" else make_object([])), inside + 1
        else:
            value, at = _read_scalar(text, at)
        while True:
            if not lists:
                return value
            key = keys[-1]
            lists[-1].append(value if key is None else (key, value))
            at = after_blanks(text, at)
            following = text[at]
            at += 1
            if following == ",":
                at = _read_run(text, at, lists[-1], keys)
                break
            if following != ("]" if key is None else "}"):
                raise ValueError("no end")
            keys.pop()
            value = lists.pop() if key is None else make_object(lists.pop())


def _read_scalar(text: str, at: int) -> tuple[Any, int]:
    """A value that is no list and no object; a string in parts."""
    if text[at] != '"':
        value, end = _scan_value(text[at : at + _NUMBER_CHARACTERS], 0)
        if end == _NUMBER_CHARACTERS:
            raise ValueError("a long number")  # of which each digit counts, and takes time
        return value, at + end
    at += 1
    end = find(text, '"', at, len(text))
    if end >= 0 and find(text, "\\", at, end) < 0:
        for place in range(at, end, _PART_CHARACTERS):
            _scan_value(f'"{text[place : min(place + _PART_CHARACTERS, end)]}"', 0)  # may refuse it
            if place > at:
                let_others_run()
        with one_at_a_time(end - at):
            return text[at:end], end + 1
    parts: list[str] = []
    end = at
    pause_at = at + _READ_AT_ONCE
    while part := _PART.match(text, end):
        parts.append(_scan_value(f'"{part[0]}"', 0)[0])
        end = part.end()
        if end >= pause_at:
            let_others_run()
            pause_at = end + _READ_AT_ONCE
    if text[end] != '"':
        raise ValueError("no end")
    with one_at_a_time(end - at):
        return "".join(parts), end + 1


def _read_run(text: str, at: int, found: list[Any], keys: list[str | None]) -> int:
    """Add what is simple to a list, or to an object's pairs; where the value begins that is not,
    whose key is then the last of `keys`."""
    if keys[-1] is None:
        pause_at = at + _READ_AT_ONCE
        while run := _ITEMS.match(text, at):
            found += _scan_value(f"[{run[0][:-1]}]", 0)[0]
            at = run.end()
            if at >= pause_at:
                let_others_run()
                pause_at = at + _READ_AT_ONCE
        return at
    while run := _MEMBERS.match(text, at):
        found += _members(_scan_value(f"{{{run[0][:-1]}}}", 0)[0])
        at = run.end()
        _check_members(len(found))
    at = after_blanks(text, at)
    if text[at] != '"':
        raise ValueError("no key")
    key, at = _read_scalar(text, at)
    if len(key) > _MOST_LETTERS:  # which are read again for each look at a dictionary
        raise errors.InvalidArgumentError(
            f"An object's name of more than {_MOST_LETTERS} letters is not read by this server."
        )
    keys[-1] = key
    at = after_blanks(text, at)
    if text[at] != ":":
        raise ValueError("no colon")
    _check_members(len(found) + 1)
    return at + 1


def _members(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    return value.pairs if isinstance(value, Repeated) else value.items()


def _check_members(count: int) -> None:
    if count > _MOST_MEMBERS:
        raise errors.InvalidArgumentError(
            f"An object of more than {_MOST_MEMBERS} members is not read by this server."
        )
