"""Messages that are about to be sent."""

from dataclasses import dataclass, field, replace
from typing import Any

from stompcli import template


@dataclass
class Outgoing:
    """One message to send."""

    destination: str
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str | None = None
    content_length: bool = True
    # Whether destination and headers have fields that each message fills in, and the body too.
    is_template: bool = False
    has_template_body: bool = False

    def check(self) -> None:
        """Raise `Failure` for a field of a template that there is not."""
        if self.is_template:
            for text in (self.destination, *(value for _, value in self.headers)):
                template.check(text)
        if self.has_template_body:
            template.check(_text(self.body))

    def filled(self, n: int) -> "Outgoing":
        """Return the n-th message that this one stands for."""
        if not self.is_template:
            return self
        body = self.body
        if self.has_template_body:
            body = template.filled(_text(body), n).encode("utf-8", "surrogateescape")
        return replace(
            self,
            destination=template.filled(self.destination, n),
            headers=[(name, template.filled(value, n)) for name, value in self.headers],
            body=body,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Client.send` beside destination and body."""
        return {
            "headers": self.headers,
            "content_type": self.content_type,
            "content_length": self.content_length,
        }


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")
