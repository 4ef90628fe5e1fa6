"""The STOMP client library on trio."""
