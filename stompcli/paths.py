"""Where this program keeps what outlives it: configuration and caches of the user."""

import os
from collections.abc import Mapping
from pathlib import Path


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file of settings: ``STOMP_CONFIG``, else ``stomp/config.toml`` of the user's."""
    named = environ.get("STOMP_CONFIG")
    if named:
        return Path(named)
    return _folder(environ, "XDG_CONFIG_HOME", ".config") / "config.toml"


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the file of settings, which holds the contexts too."""
    return config_file(environ).parent


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what may be thrown away at any time."""
    return _folder(environ, "XDG_CACHE_HOME", ".cache")


def _folder(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    # A relative path in such a variable is to be ignored, says its specification.
    home = environ.get(variable, "")
    place = Path(home) if home.startswith("/") else Path(environ.get("HOME") or "/") / otherwise
    return place / "stomp"
