"""The networks, what they are written in and what can be asked of them.

``layers`` has the words, ``networks`` one file a network, ``application`` the shell around each,
``catalogue`` a row for each, which loads no Keras.
"""
