"""The subcommands of ``keras-inception``, a module each.

``add(commands)`` declares a subcommand's arguments, ``run(options)`` does it, by calling a function
that Python users can call too. Everything heavy is imported inside ``run``, so that ``--help``
answers at once.
"""
