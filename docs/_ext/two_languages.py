"""English and Chinese on one site: search, a page's language, its contents, its broken lines."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish

_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
# A line that ends in Chinese, and one behind it that goes on.
_BROKEN = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[^\s|#>*-])")


# Where a part of the contents begins, at the page's side.
_PART = re.compile(r'(?=<p class="caption")')


class SearchEnglishAndChinese(SearchEnglish):
    """English as Sphinx has it; of Chinese every two characters that follow one another.

    Chinese puts no spaces between words; pairs of characters find them without a dictionary.
    """

    def split(self, input: str) -> list[str]:
        """The words of a text."""
        words = []
        for word in super().split(input):
            words.append(word)
            for run in _CHINESE.findall(word):
                words += [run, *(run[at : at + 2] for at in range(len(run) - 1))]
        return words

    def word_filter(self, word: str) -> bool:
        """Whether a word is kept; one Chinese character is a word already."""
        return bool(_CHINESE.fullmatch(word)) or super().word_filter(word)


def _is_chinese(page: str) -> bool:
    return "/zh/" in page or page.endswith(".zh-CN")


def _join_lines(app: Sphinx, page: str, source: list[str]) -> None:
    """Where a line breaks between Chinese characters there is no space."""
    if _is_chinese(page) and page.startswith("docs/"):
        source[0] = _BROKEN.sub("", source[0])


def _say_language(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Browsers choose a font's Chinese or Japanese forms by it."""
    if _is_chinese(page):
        context["language"] = "zh-CN"


def _put_chinese_first(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Of the contents beside a Chinese page; the Chinese part is the last one."""
    if _is_chinese(page):
        before, *english, chinese = _PART.split(context["furo_navigation_tree"])
        chinese, end, after = chinese.rpartition("</ul>")
        context["furo_navigation_tree"] = "".join([before, chinese, end, *english, after])


def setup(app: Sphinx) -> dict[str, bool]:
    """Put the search in English's place, and see to Chinese pages."""
    languages["en"] = SearchEnglishAndChinese  # type: ignore[assignment]
    app.connect("source-read", _join_lines)
    app.connect("html-page-context", _say_language)
    app.connect("html-page-context", _put_chinese_first, priority=900)  # behind furo's own
    return {"parallel_read_safe": True, "parallel_write_safe": True}
