"""The subcommands of ``inception-serving``, a module each, which ``keras-inception`` has too.

``add(commands)`` declares a subcommand's arguments, ``run(options)`` does it, by calling a function
that Python users can call too. gRPC is imported inside ``run``, so that ``--help`` answers at once.
"""
