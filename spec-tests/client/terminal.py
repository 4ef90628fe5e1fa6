"""The `stomp` program on a terminal of its own, for commands that ask."""

import pexpect
from client.programs import Stomp, environment


class Terminal:
    """The program on a terminal, at which somebody types."""

    def __init__(
        self, stomp: Stomp, *words: str, width: int = 120, env: dict[str, str] | None = None
    ) -> None:
        command, *args = stomp.argv(*words)
        self.child: pexpect.spawn[str] = pexpect.spawn(
            command,
            args,
            env=environment(**{"TERM": "xterm", "NO_COLOR": "1", **(env or {})}),
            dimensions=(40, width),
            encoding="utf-8",
            timeout=30,
            echo=False,
        )
        self.seen = ""

    def answer(self, question: str, line: str | None) -> None:
        """Wait for a question, and type a line, None for Ctrl-D."""
        self.child.expect_exact(question)
        self.seen += str(self.child.before) + question
        if line is None:
            self.child.sendeof()
        else:
            self.child.sendline(line)

    def end(self) -> int:
        """Wait for the program's end; return its exit code."""
        self.child.expect(pexpect.EOF)
        self.seen += str(self.child.before)
        self.seen = self.seen.replace("\r\n", "\n")
        self.child.close()
        code = self.child.exitstatus
        assert code is not None
        return code
