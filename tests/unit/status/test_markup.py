"""HTML in which every text is escaped."""

from html.parser import HTMLParser

import pytest

from orchestrator.status.markup import Markup, element, joined
from tests.status_samples import HOSTILE


class Seen(HTMLParser):
    """What a browser sees: elements with attributes, and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        """Take note of a text."""
        self.texts.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_an_element(text: str) -> None:
    """Whatever a text holds, a browser sees one element, one attribute and one text, but for what no eye sees."""
    seen = Seen(element("p", text, title=text))
    shown = "".join(character if character.isprintable() else " " for character in text)
    assert seen.elements == [("p", [("title", shown)])]
    assert "".join(seen.texts) == shown


def test_elements() -> None:
    """Attributes are named as HTML has them, those without a value are left out, and markup stays as it is."""
    assert element("td", element("br_", "x"), class_="a", data_label="b", title=None) == (
        '<td class="a" data-label="b"><br_>x</br_></td>'
    )
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert joined("<", Markup("<b>")) == "&lt;<b>"
