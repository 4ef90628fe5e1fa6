"""How many messages a second are shown, so that a prompt above which they come stays readable.

Pure: messages as octets go in with the time, what to write now comes out.
"""

_SECOND = 1.0


class Display:
    """Lets ``rate`` messages a second through, and says how many others there were.

    ``rate`` 0 is no limit. ``hidden`` counts all that were not shown.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.hidden = 0
        # When the second began in which so many were shown.
        self._began = float("-inf")
        self._shown = 0
        # The first and last number of those that this second has no room for, and how many.
        self._missed: tuple[int, int, int] | None = None

    @property
    def due(self) -> float | None:
        """When `tick` has something to say, None if it has not."""
        return None if self._missed is None else self._began + _SECOND

    def feed(self, now: float, number: int, text: bytes, *, room: bool = True) -> bytes:
        """Return what to write now that a message has come; ``room`` False: not the message."""
        before = self.tick(now)
        if now >= self._began + _SECOND:
            self._began = now
            self._shown = 0
        if room and (not self.rate or self._shown < self.rate) and self._missed is None:
            self._shown += 1
            return before + text
        self.hidden += 1
        first, _, count = self._missed or (number, number, 0)
        self._missed = first, number, count + 1
        return before

    def tick(self, now: float) -> bytes:
        """Return the line about those that were not shown, once their second is over."""
        if self._missed is None or now < self._began + _SECOND:
            return b""
        first, last, count = self._missed
        self._missed = None
        which = f"#{first}" if first == last else f"#{first}-#{last}"
        return f"… {count:,} more not shown (show {which}, or set rate 0)\n".encode()
