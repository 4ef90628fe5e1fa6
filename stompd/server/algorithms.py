"""What is known of tokens without any cryptography; `stompd.server.tokens` has the rest."""

from typing import Final

ALGORITHMS: Final = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""The names of the algorithms by which tokens may be signed."""

# How every token begins: `{"` in base64; and the dots between its parts.
_BEGIN: Final = "eyJ"
_DOTS: Final = 2


def looks_like_token(passcode: str) -> bool:
    """Return whether a passcode is meant as a token."""
    return passcode.startswith(_BEGIN) and passcode.count(".") == _DOTS
