"""A text that neither logs nor error messages show."""

from __future__ import annotations


class Secret:
    """Holds a text; `str()` and `repr()` do not show it. It is named as pydantic's class for documents is."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)
