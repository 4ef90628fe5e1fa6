"""Where messages are kept: engines behind the interface that the broker declares."""
