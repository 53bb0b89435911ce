"""``python -m inception_serving`` is ``inception-serving``."""

import sys

from inception_serving.commands.cli import main

sys.exit(main())
