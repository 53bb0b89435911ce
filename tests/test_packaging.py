"""What is installed: three packages, typed, with the licence and without the tests."""

import configparser
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from keras_inception.version import __version__

ROOT = Path(__file__).parents[1]
SERVING = ROOT / "serving" / "inception_serving"


def test_every_package_is_listed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = set()
    for root, top in (
        (ROOT, "keras_inception"),
        (ROOT / "export", "inception_export"),
        (ROOT / "serving", "inception_serving"),
    ):
        for init in (root / top).rglob("__init__.py"):
            found.add(".".join(init.parent.relative_to(root).parts))
    assert listed == found


@pytest.mark.slow
def test_the_wheel_holds_what_it_should(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"keras_inception", "inception_export", "inception_serving"}
    for package in tops:
        assert f"{package}/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    for top in (ROOT / "keras_inception", ROOT / "export" / "inception_export", SERVING):
        files = (
            path for path in top.rglob("*") if path.is_file() and "__pycache__" not in str(path)
        )
        # The code, and what it reads: templates, a page, descriptors of messages.
        assert {str(path.relative_to(top.parent)) for path in files} <= set(names)


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"
    heading = f"## [{__version__}] - {citation['date-released']}\n"
    assert heading in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("citation-file-format", "CITATION.cff"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/wish.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_files_that_others_read_are_as_their_schemas_say(schema: str, file: str) -> None:
    content = yaml.safe_load((ROOT / file).read_text("utf-8"))
    # JSON has no dates.
    content = json.loads(json.dumps(content, default=str))
    jsonschema.validate(content, get_builtin_schema(f"vendor.{schema}"))
