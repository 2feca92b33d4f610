"""What a browser makes of a page."""

import html
import re
from html.parser import HTMLParser

PATHS = ("/", "/questions", "/dead-letters")


class Elements(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def assert_harmless(page: str) -> None:
    """One script, which is the page's own; nothing inline; nothing from elsewhere."""
    found = Elements(page)
    assert [str(script["src"])[:15] for script in found.all("script")] == ["/static/page.js"]
    assert [str(image["src"])[:16] for image in found.all("img")] == ["/static/icon.svg"]
    assert found.all("b") == [
        attributes for attributes in found.all("b") if attributes in ({}, {"class": "count"})
    ]
    for _, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            assert str(attributes.get(name, "/")).startswith(("/", "#"))


def shown(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))
