"""The networks, one file each: words from ``layers``, the shell from ``application``."""
