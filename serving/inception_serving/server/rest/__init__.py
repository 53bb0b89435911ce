"""The REST transport, and the page for people."""
