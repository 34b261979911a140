"""Elements of a page, made so that no text can become markup."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, tostring

__all__ = ["Child", "Element", "element", "name_of", "serialize"]

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: Any) -> Element:
    """Make an element.

    Args:
        tag: Its name.
        children: Elements, texts (which stay texts, whatever they hold), and None for nothing.
        attributes: By name; `class_` is `class`, `aria_label` is `aria-label`, and one that is None
            is left out.

    Example:
        >>> serialize(element("p", "a < b ", element("b", "&"), class_="note"))
        '<p class="note">a &lt; b <b>&amp;</b></p>'
    """
    known = {name: value for name, value in attributes.items() if value is not None}
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(known[name]) for name in known})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def name_of(text: str) -> Element:
    """Make a name that somebody else chose: its writing direction stays inside it."""
    return element("bdi", text)


def serialize(root: Element) -> str:
    """Write an element and all that is in it as HTML."""
    text: str = tostring(root, encoding="unicode", method="html")
    return text
