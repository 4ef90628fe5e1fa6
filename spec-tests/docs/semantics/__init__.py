"""What docs/semantics.md promises, seen by clients of a running daemon."""
