"""TF Serving's configuration files, and the options that are read from them."""
