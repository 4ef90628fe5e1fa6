"""The conformance suite: every requirement that binds a server, judged on the wire.

``cases``    what a case is; reads the scripts of ``wire/*.toml`` and collects the ones in Python
``script``   the notation in which most cases are written
``stage``    what a running case has: its connections and names of its own
``brokers``  starts stompd, plain or specially configured, as a process of its own
``suite``    runs cases side by side and gathers what came out
``report``   the table: text, Markdown and HTML, with a score per chapter
``timing``, ``volume``, ``content``, ``settings``   the cases that are Python functions

Nothing here imports stompd, except the process that ``brokers`` starts.
"""
