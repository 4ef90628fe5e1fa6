"""Headers that a session adds to every message, or to those for one destination."""

from collections.abc import Sequence

Pair = tuple[str, str]
# The value is None for a header that is to be left out.
Typed = tuple[str, str | None]


class Sticky:
    """The headers that were added by ``header add``; one of a destination goes before the others.

    It owns no more than their order.
    """

    def __init__(self) -> None:
        # By destination; None for all of them.
        self._headers: dict[str | None, dict[str, str]] = {}

    def add(self, name: str, value: str, destination: str | None) -> None:
        """Add a header, in place of one of that name."""
        self._headers.setdefault(destination, {})[name] = value

    def remove(self, name: str, destination: str | None) -> bool:
        """Take a header away; return whether there was one."""
        return self._headers.get(destination, {}).pop(name, None) is not None

    def clear(self, destination: str | None) -> None:
        """Take away all headers of a destination, for None those of every one."""
        if destination is None:
            self._headers.clear()
        else:
            self._headers.pop(destination, None)

    def rows(self, destination: str | None) -> list[tuple[str, str, str]]:
        """Return destination, name and value of the headers, for None all there are."""
        return [
            (place or "", name, value)
            for place, headers in self._headers.items()
            if destination in (None, place)
            for name, value in headers.items()
        ]

    def with_typed(self, typed: Sequence[Typed], destination: str) -> tuple[Typed, ...]:
        """Return the headers of a message: those that were typed go before ours."""
        ours = {**self._headers.get(None, {}), **self._headers.get(destination, {})}
        names = {name for name, _ in typed}
        return (*((name, value) for name, value in ours.items() if name not in names), *typed)
