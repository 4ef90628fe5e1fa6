"""What is running: the version, and the file that it runs from."""

import platform
import sys

from stompd import __version__


def version_line() -> str:
    """Return the version, and the file that is running: other packages install a stomp too."""
    return f"stomp {__version__} (python {platform.python_version()}) {sys.argv[0]}"
