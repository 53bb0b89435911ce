"""ImageNet's 1000 classes: their WordNet identifiers and names, which lie beside this module.

``imagenet_classes.txt`` has a line for each class of the challenge of 2012, in the order of every
published network's outputs: the identifier, which is the place of a synset in WordNet 3.0's nouns,
and the synset's first word there. These are the names that keras.applications downloads, to the
byte (a test compares the hash). ``WORDNET_LICENSE.txt`` is WordNet's licence.
"""

from __future__ import annotations

import functools
from importlib import resources

# Two birds and machines, two garments: WordNet's first word is the same for both, and a label must
# not be. As torchvision tells them apart.
_TOLD_APART = {"n02012849": "crane bird", "n03710721": "maillot tank suit"}


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """(identifier, name) of each class, in order: ("n01484850", "great_white_shark")."""
    lines = resources.files(__package__).joinpath("imagenet_classes.txt").read_text("utf-8")
    classes = (line.split() for line in lines.splitlines())
    return tuple((identifier, name) for identifier, name in classes)


def imagenet_labels() -> tuple[str, ...]:
    """The classes' names for people, each there once: "great white shark"."""
    return tuple(
        _TOLD_APART.get(identifier, name.replace("_", " "))
        for identifier, name in imagenet_classes()
    )
