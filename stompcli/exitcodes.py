"""The exit codes of `stomp`: the one list of them."""

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """What a command's exit code means; the sentence stands beside each value."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Make a member of a value and what it means to users."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "done; for receiving: the asked count arrived, or no count was asked"
    FAILED = 1, "the broker answered ERROR, the operation failed, or a check failed"
    USAGE = 2, "the command line is wrong"
    PARTIAL = 3, "partial success: n of m"
    BAD_INPUT = 65, "bad input data, such as a malformed file of headers"
    NO_INPUT = 66, "an input file is missing"
    UNAVAILABLE = 69, "cannot connect, TLS failure, or the connection was lost"
    TIMED_OUT = 75, "timed out, or fewer messages arrived than --count asked for"
    REFUSED = 77, "the login was refused, or the user may not do this"
    BAD_CONFIG = 78, "bad configuration or context"
    INTERRUPTED = 130, "interrupted (SIGINT)"
    TERMINATED = 143, "terminated (SIGTERM)"
