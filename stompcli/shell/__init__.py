"""The interactive shell: prompt-toolkit in a thread beside trio.

trio owns the main thread: the session and its commands are the ones that every other front end
uses. prompt-toolkit knows asyncio only, so each line is read in a worker thread; what the two
threads exchange is either a value that nobody changes any more or goes through `Screen`.

* ``loop``: `run_shell`: prompt, line, command, and what happens beside it.
* ``prompt``: `Prompt`, the thread in which a line is typed; ``keys``: what its keys do.
* ``screen``: `Screen`, the way of text to a terminal on which a prompt stands; `ShellOut`.
* ``display``: how many messages a second are shown.
* ``toolbar``: the line below the prompt; ``suggest``: what Tab offers. Both are pure.

Only ``prompt`` and ``keys`` import prompt-toolkit.
"""
