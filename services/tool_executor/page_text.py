"""Text of a page of the web: headings, lists, tables and links as Markdown, without scripts and styles."""

import re
import sys

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

_UNREAD = ("title", "script", "style", "noscript", "template", "svg", "iframe", "head")


def text_of_page(html: str) -> str:
    """Return the text; of a page that is nested too deeply, the words alone."""
    try:
        page = BeautifulSoup(html, "html.parser")
        title = page.title.get_text(strip=True) if page.title else ""
        for node in page.find_all(_UNREAD):
            node.decompose()
        text = MarkdownConverter(heading_style="ATX", bullets="-").convert_soup(page)
    except RecursionError:
        title, text = "", re.sub(r"<[^<>]*>", " ", html)
    text = re.sub(r"[ \t]+\n", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return f"# {title}\n\n{text}" if title and not text.startswith("# ") else text


if __name__ == "__main__":
    sys.stdout.buffer.write(text_of_page(sys.stdin.buffer.read().decode()).encode("utf-8", "replace"))
