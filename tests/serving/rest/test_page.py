"""The page for people, in a real browser (Debian: apt-get install chromium)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from inception_serving import ModelServer
from tests.serving.caller import png
from tests.serving.rest.browser import CHROMIUM, Page, browsing
from tests.serving.saved_models import publish
from tests.serving.test_command import ENVIRONMENT
from tests.serving.test_safety import png_bomb

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def colours_server(
    saved_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    base = tmp_path_factory.mktemp("page") / "models"
    base.mkdir()
    publish(saved_models / "arithmetic", base / "arithmetic" / "3")
    for version in ("1", "2"):
        publish(saved_models / "colours", base / "colours" / version)
    with ModelServer(base, rest_port=0, num_versions=2, poll_s=0.1) as server:
        yield server


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Of a browser, which takes a second to start."""
    with browsing(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def page(colours_server: ModelServer, tab: Page) -> Iterator[Page]:
    """The page, newly opened."""
    tab.call("Emulation.clearDeviceMetricsOverride")
    tab.requested.clear()
    tab.errors.clear()
    tab.open(f"{colours_server.rest_address}/")
    tab.wait_for("document.querySelectorAll('#models tr').length === 3")
    yield tab
    assert tab.errors == []


def texts(page: Page, selector: str) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll('{selector}')].map(e => e.textContent)")


@needs_chromium
class TestInTheBrowser:
    def test_models_and_states(self, page: Page) -> None:
        rows = [texts(page, f"#models tr:nth-child({n}) td") for n in (1, 2, 3)]

        assert rows == [
            ["arithmetic", "3", "", "AVAILABLE", ""],
            ["colours", "2", "", "AVAILABLE", "serving_default"],
            ["colours", "1", "", "AVAILABLE", "serving_default"],
        ]

    def test_a_picture(self, page: Page, colours_server: ModelServer, tmp_path: Path) -> None:
        """Labels, scores and time; and nothing is asked of anybody else."""
        (tmp_path / "green.png").write_bytes(png(0, 200, 90))

        page.choose_file("#file", tmp_path / "green.png")
        page.wait_for("!document.getElementById('answer').hidden")

        assert texts(page, "#labels td:first-child") == ["green", "blue"]
        scores = [float(text) for text in texts(page, "#labels td.number")]
        assert scores == pytest.approx([0.9866, 0.0130], abs=0.001)
        # The answer may be there before the browser has read the picture.
        assert page.wait_for("document.getElementById('picture').naturalWidth") == 8
        (status,) = texts(page, "#status")
        assert status.startswith("green.png: answered in ")
        ours = (f"{colours_server.rest_address}/", "blob:", "data:")
        assert all(url.startswith(ours) for url in page.requested)

    def test_what_is_no_picture(self, page: Page, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("notes")
        (tmp_path / "bomb.png").write_bytes(png_bomb(10_000, 10_000))

        page.choose_file("#file", tmp_path / "notes.txt")
        page.wait_for("document.getElementById('status').textContent.startsWith('No answer: Unk')")
        page.choose_file("#file", tmp_path / "bomb.png")
        page.wait_for("document.getElementById('status').textContent.includes('100000000 pixels')")

    @pytest.mark.parametrize(
        ("name", "content", "format"),
        [
            ("IMG_0001.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
            ("photo.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
            ("scan.tif", b"II*\0\x08\0\0\0", "TIFF"),
            ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ],
    )
    def test_a_format_that_is_not_read(
        self, page: Page, tmp_path: Path, name: str, content: bytes, format: str
    ) -> None:
        """It is named, with what helps, and not sent."""
        (tmp_path / name).write_bytes(content)
        page.requested.clear()

        page.choose_file("#file", tmp_path / name)
        page.wait_for("document.getElementById('status').textContent.includes('JPEG')")

        (status,) = texts(page, "#status")
        assert status.startswith(f"{name} is {format}, which is not read here: ")
        assert not [url for url in page.requested if ":predict" in url]

    def test_on_a_phone(self, page: Page, tmp_path: Path) -> None:
        """Nothing is wider than the screen, with a picture's answer and long code too."""
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=390,
            height=844,
            deviceScaleFactor=1,
            mobile=True,
        )
        (tmp_path / "green.png").write_bytes(png(0, 200, 90))
        page.choose_file("#file", tmp_path / "green.png")
        page.wait_for("!document.getElementById('answer').hidden")

        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        outside = page.evaluate(
            """
            [...document.querySelectorAll("body *:not(pre, pre *)")]
              .filter(element => element.getBoundingClientRect().right > 390)
              .map(element => element.outerHTML.slice(0, 80))
            """
        )
        assert outside == []

    def test_a_picture_that_is_dropped(self, page: Page) -> None:
        page.evaluate(
            """
            const data = new DataTransfer();
            const canvas = Object.assign(document.createElement("canvas"), {width: 4, height: 4});
            const drawn = canvas.getContext("2d");
            drawn.fillStyle = "rgb(0 0 200)";
            drawn.fillRect(0, 0, 4, 4);
            new Promise(resolve => canvas.toBlob(blob => {
              data.items.add(new File([blob], "blue.png"));
              document.getElementById("drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, cancelable: true}));
              resolve();
            }))
            """
        )
        page.wait_for("!document.getElementById('answer').hidden")

        assert texts(page, "#labels td:first-child")[0] == "blue"

    def test_with_the_keyboard(self, page: Page) -> None:
        """Tab reaches everything that can be pressed, in order; arrows change the language."""
        reached = []
        for _ in range(5):
            page.press("Tab", 9)
            reached.append(page.evaluate("document.activeElement.id"))
        page.evaluate("document.getElementById('file').onclick = () => window.asked = true")
        page.evaluate("document.getElementById('drop').focus()")
        page.press("Enter", 13)
        page.evaluate("document.getElementById('tab-curl').focus()")
        page.press("ArrowRight", 39)
        after_one = page.evaluate("document.activeElement.id")
        python = page.evaluate("document.getElementById('code').textContent")
        page.press("ArrowRight", 39)
        page.press("ArrowRight", 39)

        assert reached == ["model", "drop", "tab-curl", "copy", "code"]
        assert page.evaluate("window.asked === true")
        assert after_one == "tab-python"
        assert python.startswith("from inception_serving import Client")
        assert page.evaluate("document.activeElement.id") == "tab-curl"

    @pytest.mark.parametrize(
        "language",
        [
            "curl",
            pytest.param("python", marks=pytest.mark.slow),
            pytest.param("grpc", marks=pytest.mark.slow),
        ],
    )
    def test_the_snippets_run(self, page: Page, tmp_path: Path, language: str) -> None:
        (tmp_path / "photo.jpg").write_bytes(png(10, 90, 200))
        page.evaluate(f"document.getElementById('tab-{language}').click()")
        code = page.evaluate("document.getElementById('code').textContent")
        command = ["/bin/sh", "-c", code] if language == "curl" else [sys.executable, "-c", code]

        done = subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
        )

        assert done.returncode == 0, done.stderr
        assert "blue" in done.stdout


class TestWithoutABrowser:
    def test_it_can_be_left_out(self, base: Path) -> None:
        with ModelServer(base / "arithmetic", rest_port=0, page=False) as server:
            statuses = [
                httpx.get(f"{server.rest_address}{path}", timeout=20).status_code
                for path in ("/", "/models.json", "/v1/models/arithmetic")
            ]

        assert statuses == [404, 404, 200]

    def test_it_may_ask_nobody_else(self, server: ModelServer) -> None:
        response = httpx.get(f"{server.rest_address}/", timeout=20)

        policy = response.headers["content-security-policy"]
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "http://" not in response.text.replace("http://www.w3.org", "")
        assert "https://" not in response.text

    def test_a_failed_version_says_why(self, saved_models: Path, tmp_path: Path) -> None:
        publish(saved_models / "colours", tmp_path / "colours" / "1")
        with ModelServer(tmp_path, rest_port=0, poll_s=0.05) as server:
            (tmp_path / "colours" / "2").mkdir()
            deadline = time.monotonic() + 20
            while True:
                models = httpx.get(f"{server.rest_address}/models.json", timeout=20).json()
                (model,) = models["models"]
                if model["versions"][0]["state"] == "END":
                    break
                assert time.monotonic() < deadline, "version 2 has not failed"
                time.sleep(0.02)

        assert model["versions"][0]["number"] == "2"
        assert model["versions"][0]["error"].startswith("Specified file path does not appear")
        assert model["versions"][1]["signatures"] == [
            {"name": "serving_default", "input": "image_bytes"}
        ]
        assert models["grpc"] == server.address
