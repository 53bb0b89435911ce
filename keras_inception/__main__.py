"""``python -m keras_inception`` is ``keras-inception``."""

import sys

from keras_inception.cli import main

sys.exit(main())
