"""Other servers of the same API: TF Serving's own program and its container, run by our options."""
