"""The reference, from docstrings and the parser: ``public-names PACKAGE`` and ``command-help``.

Sources are read, not imported, so that neither TensorFlow nor a GPU is needed. The public names of
a package are those of its ``__all__``; where they are defined stands in its imports. Only the
networks' builders, which are objects, are documented by the function that does so for ``help``; it
needs no Keras.
"""

import argparse
import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.docutils import SphinxDirective

_ROOTS = ("", "export", "serving")
_BUILDER = "Application"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _file(root: Path, module: str) -> Path:
    parts = Path(*module.split("."))
    for each in _ROOTS:
        for path in (root / each / parts.with_suffix(".py"), root / each / parts / "__init__.py"):
            if path.is_file():
                return path
    raise FileNotFoundError(module)


def _public(tree: ast.Module) -> dict[str, str]:
    """The names of a package's ``__all__``, each with the module that it is imported from."""
    imports = {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {name: imports[name] for name in ast.literal_eval(node.value)}
    raise ValueError("no __all__")


class PublicNames(SphinxDirective):
    """All public names of a package with their docstrings."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write them in reStructuredText, as autodoc does, and parse that."""
        root, package = Path(self.env.srcdir), self.arguments[0]
        tree = ast.parse(_file(root, package).read_text("utf-8"))
        lines = [f".. py:currentmodule:: {package}", ""]
        for name, module in _public(tree).items():
            path = _file(root, module)
            self.env.note_dependency(str(path))
            lines += self._of_name(root, name, module)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, package), 0, parent)
        return parent.children

    def _of_name(self, root: Path, name: str, module: str) -> list[str]:
        tree = ast.parse(_file(root, module).read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, Definition) and node.name == name:
                return list(self._definition(node))
            if (
                isinstance(node, ast.Assign)
                and ast.unparse(node.targets[0]) == name
                and isinstance(node.value, ast.Call)
                and ast.unparse(node.value.func) == _BUILDER
            ):
                return list(self._builder(root, name, node.value, tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and any(each.name == name for each in node.names):
                return self._of_name(root, name, node.module or "")
        told = (ast.get_docstring(tree) or "").splitlines()
        return [f".. py:data:: {name}", "", *(f"   {line}" for line in told), ""]

    def _builder(self, root: Path, name: str, call: ast.Call, tree: ast.Module) -> Iterator[str]:
        """A network's: the signature that all share, and what ``help`` says of this one."""
        from keras_inception.models.catalogue import CATALOGUE
        from keras_inception.models.documentation import document

        shell = _file(root, "keras_inception.models.application")
        (signature,) = (
            _signature(member)
            for node in ast.parse(shell.read_text("utf-8")).body
            if isinstance(node, ast.ClassDef) and node.name == _BUILDER
            for member in node.body
            if isinstance(member, ast.FunctionDef) and member.name == "__call__"
        )
        heads = [key for each in call.args if isinstance(each, ast.Dict) for key in each.keys]
        outputs = ["predictions", *(ast.literal_eval(key) for key in heads if key)]
        told = document(CATALOGUE[name], ast.get_docstring(tree) or "", outputs)
        yield from (f".. py:function:: {name}{signature}", "")
        for line in GoogleDocstring(told, self.config, what="function").lines():
            yield f"   {line}" if line else ""
        yield ""

    def _definition(self, node: Definition, indent: str = "", kind: str = "") -> Iterator[str]:
        signature = _signature(node)
        kind = kind or ("class" if isinstance(node, ast.ClassDef) else "function")
        yield f"{indent}.. py:{kind}:: {node.name}{signature}"
        inner = indent + "   "
        yield ""
        docstring = _with_code_blocks(ast.get_docstring(node) or "")
        for line in GoogleDocstring(docstring, self.config, what=kind).lines():
            yield inner + line if line else ""
        yield ""
        if isinstance(node, ast.ClassDef):
            yield from self._members(node, inner)

    def _members(self, node: ast.ClassDef, indent: str) -> Iterator[str]:
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.value, ast.Call):
                yield from _setting(member, member.value, indent)
            if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if member.name.startswith("_") or not ast.get_docstring(member):
                continue
            decorators = {ast.unparse(each) for each in member.decorator_list}
            if decorators & {"property", "cached_property", "functools.cached_property"}:
                kind = "property"
            else:
                kind = "method"
            yield from self._definition(member, indent, kind)


def _setting(member: ast.AnnAssign, call: ast.Call, indent: str) -> Iterator[str]:
    """A field whose meaning stands beside it, as those of recipes and options do."""
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "default")]
    texts = [each.value for each in ast.walk(call) if isinstance(each, ast.Constant)]
    meaning = max((text for text in texts if isinstance(text, str)), key=len, default="")
    if given and " " in meaning:
        yield f"{indent}.. py:attribute:: {ast.unparse(member.target)}"
        yield f"{indent}   :type: {ast.unparse(member.annotation)}"
        yield f"{indent}   :value: {ast.unparse(given[0])}"
        yield ""
        yield f"{indent}   {meaning.replace('*', chr(92) + '*')}"
        yield ""


def _with_code_blocks(docstring: str) -> str:
    """Indented examples, as Markdown has them, made literal blocks."""
    return re.sub(r"(?m)(^\S.*[^:\n]:?\n\n)(?=    \S)", r"\1::\n\n", docstring)


def _signature(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if getattr(each, "name", "") == "__init__"]
        return _signature(made[0]).partition(" -> ")[0] if made else ""  # type: ignore[arg-type]
    decorators = {ast.unparse(each).rpartition(".")[2] for each in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        return ""
    arguments = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({arguments}){returns}"


class CommandHelp(SphinxDirective):
    """What ``keras-inception COMMAND --help`` prints, of every command."""

    def run(self) -> list[nodes.Node]:
        """A section a command."""
        os.environ["COLUMNS"] = "88"
        from keras_inception.cli import _parser

        sections: list[nodes.Node] = []
        for path, parser in commands(_parser()):
            title = " ".join(path)
            section = nodes.section(ids=[nodes.make_id(title)], names=[title])
            section += nodes.title("", title)
            told = parser.format_help()
            section += nodes.literal_block(told, told, language="text")
            sections.append(section)
        return sections


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that does something, with its parser."""
    inner = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not inner:
        yield path, parser
    for action in inner:
        for name, each in action.choices.items():
            yield from commands(each, (*path, name))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both directives."""
    app.add_directive("public-names", PublicNames)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
