"""Requests of many clients run as one batch."""
