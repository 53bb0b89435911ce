"""The site: built strictly, whole in itself, found by a search in both languages.

`make docs-setup` sets up what builds it; without that the tests are skipped.
"""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import inception_export
import inception_serving
import keras_inception

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-docs" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".venv-docs" / ".installed").exists(), reason="no .venv-docs: make docs-setup"
    ),
]


class Page(HTMLParser):
    """What a page loads, where it leads, and the places in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag in ("script", "img", "iframe", "source", "video") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and "stylesheet" in given.get("rel", ""):
            self.loaded.append(given["href"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from scratch, warnings as errors, with no way to any network."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [PYTHON, *["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", "docs", "-d"],
         folder / "doctrees", ROOT, folder / "html"],
        cwd=ROOT, env=nowhere, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_nothing_comes_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 30
    for path, page in pages.items():
        for each in page.loaded:
            assert not re.match(r"(https?:)?//", each), f"{path}: {each}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text("utf-8")
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", text), sheet


def test_inner_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            name, _, place = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), f"{path}: {link}"
            if place and target in pages:
                assert place in pages[target].ids, f"{path}: {link}"
            followed += 1
    assert followed > 1000


def test_the_front_leads_to_the_contents(site: Path, pages: dict[Path, Page]) -> None:
    assert pages[site / "index.html"].links == ["docs/index.html"]
    links = pages[site / "docs" / "index.html"].links
    for page in ("tutorial.html", "zh/index.html", "troubleshooting.html", "reference/python.html"):
        assert page in links


def test_every_public_name_and_command_is_in_the_reference(pages: dict[Path, Page]) -> None:
    (python,) = (page for path, page in pages.items() if path.match("reference/python.html"))
    for package in (keras_inception, inception_export, inception_serving):
        for name in set(package.__all__) - {"__version__"}:
            assert f"{package.__name__}.{name}" in python.ids, name
    for part in (
        "Recipe.epochs",
        "Client.predict",
        "ModelServer.rest_address",
        "ServerOptions.port",
    ):
        assert any(each.endswith(f".{part}") for each in python.ids), part
    (commands,) = (page for path, page in pages.items() if path.match("reference/commands.html"))
    assert {"train", "data-check", "weights-convert", "serve"} <= commands.ids


def test_the_reference_says_what_a_builder_takes(site: Path) -> None:
    text = (site / "docs" / "reference" / "python.html").read_text("utf-8")
    (_, told) = text.split('id="keras_inception.InceptionV4"')
    told = re.sub(r"<[^>]*>|\s+", " ", told[: told.index("</dl>\n</dd></dl>")])
    assert "arXiv:1602.07261" in told and re.search(r"include_top *: *bool", told)
    assert "by default 0.2, as TF-Slim has it" in " ".join(told.split())


def test_words_of_both_languages_are_found(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf-8")
    terms = json.loads("{" + index.split('"terms":{')[1].split("}")[0] + "}")
    assert {"微调", "集群", "recalibr"} <= set(terms)


def test_pages_say_their_language(site: Path) -> None:
    for name, language in (("zh/tutorial", "zh-CN"), ("tutorial", "en")):
        text = (site / "docs" / f"{name}.html").read_text("utf-8")
        assert f'lang="{language}"' in text
        captions = re.findall(r'caption-text">(.*?)<', text)
        assert captions[0] == {"zh-CN": "中文", "en": "Begin"}[language]
        assert sorted(captions) == sorted(["Begin", "In depth", "Understand", "Reference", "中文"])
    assert "\uff0c\n" not in (site / "docs" / "zh" / "tutorial.html").read_text("utf-8")
