"""What the pages tell to type is there: each command's flags, each name, each make target."""

import argparse
import ast
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inception_serving.commands import cli
from inception_serving.server.flags import build_parser
from inception_serving.server.unsupported_flags import _UNSUPPORTED
from keras_inception.cli import _parser
from tests.pages import PAGES, ROOT, Block, blocks

BLOCKS = [block for page in PAGES for block in blocks(page)]
# Flags of other programs, which the pages name in their text: Compose's, timm's, and those of
# tensorflow_model_server that ours refuses or does without.
OTHERS = {"--wait", "--layer-decay", "--xla_cpu_compilation_enabled"}
OTHERS |= {f"--{name}" for name in _UNSUPPORTED}
PROGRAMS = {"keras-inception": _parser, "inception-serving": cli._parser}


def shell() -> Iterator[tuple[Block, list[str]]]:
    """Every command of every page, as words, without what is set before it."""
    for block in BLOCKS:
        if block.language == "shell":
            for command in block.commands:
                words = shlex.split(command, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words = words[1:]
                yield block, words


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_pages_are_found_and_taken_apart() -> None:
    assert Path("README.md") in PAGES and Path("docs/zh/tutorial.md") in PAGES
    of_readme = [block for block in BLOCKS if block.page == Path("README.md")]
    assert sum(block.language == "python" for block in of_readme) == 2
    assert any(block.commands[0] == "keras-inception models" for block in of_readme)
    assert any(block.not_run == "downloads weights" for block in BLOCKS)


def test_every_command_of_ours_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its options, their choices and what it must be given, as the parser has them."""
    monkeypatch.chdir(tmp_path)
    seen = 0
    for block, words in shell():
        if not words or words[0] not in PROGRAMS:
            continue
        program, make = words[0], PROGRAMS[words[0]]
        words = [word for word in words[1:] if not word.startswith("[")]
        if "|" in words or any(word.endswith("]") for word in words):
            continue  # choices, as a usage has them
        seen += 1
        try:
            make().parse_args(words)
        except SystemExit:
            pytest.fail(f"{block}: {program} {' '.join(words)}: {capsys.readouterr().err}")
    assert seen > 80


def test_every_command_of_the_server_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    served = [(block, words[3:]) for block, words in shell() if "inception_serving.server" in words]
    assert served
    for block, words in served:
        try:
            build_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{block}: {capsys.readouterr().err}")


def test_every_flag_in_the_text_is_one() -> None:
    known = OTHERS | {
        flag
        for top in (_parser(), cli._parser(), build_parser())
        for parser in parsers(top)
        for action in parser._actions
        for flag in action.option_strings
    }
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # which also tells of what is gone
        for code in re.findall(r"`(--[^`\n]+)`", (ROOT / page).read_text("utf-8")):
            assert re.split(r"[ =]", code)[0] in known, f"{page}: {code}"


def test_every_target_of_make_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(page), name)
        for page in PAGES
        for name in re.findall(r"[`\s]make ([a-z-]+)(?=[`\n ])", (ROOT / page).read_text("utf-8"))
        if f"`make {name}`" in (text := (ROOT / page).read_text("utf-8"))
        or f"    make {name}" in text
    }
    assert ("README.md", "demo") in named
    for page, name in named:
        assert name in targets, f"{page}: make {name}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "shell"], ids=str)
def test_a_shell_accepts_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert "[" in block.text or done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=str
)
def test_python_imports_what_there_is(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module.split(".")[0] in (
            "keras_inception",
            "inception_export",
            "inception_serving",
        ):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert alias.name in dir(module), f"{block}: {node.module}.{alias.name}"


def test_chinese_guides_are_in_step() -> None:
    """Each tells to type what the English one does, but for `cluster`, which is shorter."""
    english = {path.stem: path for path in [*ROOT.glob("docs/how-to/*.md")]}
    english["tutorial"] = ROOT / "docs" / "tutorial.md"
    chinese = {path.stem: path for path in ROOT.glob("docs/zh/*.md")}
    assert set(chinese) >= {*english, "cluster", "index", "troubleshooting"}
    for name, path in english.items():
        typed = [
            [
                (block.language, block.text, block.not_run)
                for block in blocks(each.relative_to(ROOT))
            ]
            for each in (path, chinese[name])
        ]
        assert typed[0] == typed[1], name
