"""The stompd program: sockets, tasks, the clock, signals, configuration, the log."""
