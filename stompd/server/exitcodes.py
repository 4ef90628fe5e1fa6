"""How the stompd process ends, told by its exit status."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses of ``stompd``; the numbers are those of sysexits.h."""

    OK = 0
    USAGE = 2
    """The command line was not understood."""
    UNAVAILABLE = 69
    """An address cannot be listened on; most often another program has the port."""
    SOFTWARE = 70
    """A fault in stompd itself; the log has the traceback."""
    STORE = 74
    """The store cannot be opened, another stompd has it, or the disk failed."""
    NOT_ALLOWED = 77
    """A passcode is not that of its user (`stompd passwd --verify`)."""
    CONFIGURATION = 78
    """The configuration is wrong, or stompd refuses it as unsafe."""
    INTERRUPTED = 130
    """Ctrl-C before the broker had begun."""
