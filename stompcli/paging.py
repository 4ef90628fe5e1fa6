"""What is longer than the screen goes through a pager, if the user has chosen one."""

import shutil

import trio

from stompcli.output import Out


async def write(out: Out, shown: bytes, pager: str) -> None:
    """Write what was asked for; on a terminal that is too small for it, by a pager.

    ``pager`` is a line for the shell of the system, empty for none.
    """
    if pager and out.tty and shown.count(b"\n") >= shutil.get_terminal_size().lines:
        with trio.CancelScope(shield=True):
            # Ctrl-C is for the pager.
            await trio.run_process(["/bin/sh", "-c", pager], stdin=shown, check=False)
    else:
        await out.write(shown)
