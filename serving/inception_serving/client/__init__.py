"""A client of TF Serving's API, its connections, what it sends and what it reads."""
