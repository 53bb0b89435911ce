"""Images: where they come from, how training varies them, what the network sees."""
