"""HTML in which every text is escaped, because only elements made here are not (pure)."""

from html import escape


class Markup(str):
    """HTML that is fit to be put into a page as it is."""

    __slots__ = ()


type Child = str | Markup

_VOID = frozenset({"meta", "link"})


def element(name: str, /, *children: Child, **attributes: str | None) -> Markup:
    """Return an element.

    Args:
        name: the tag.
        children: what it holds; a text that is no markup is escaped.
        attributes: `_` stands for `-`, and one at the end is dropped (`class_`); one that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return several things, one after the other; a text that is no markup is escaped."""
    return Markup("".join(child if isinstance(child, Markup) else escape(_printable(child)) for child in children))


def _printable(text: str) -> str:
    """Return a text without what no eye sees: such characters turn the order of others around, or hide them."""
    return "".join(character if character.isprintable() else " " for character in text)
