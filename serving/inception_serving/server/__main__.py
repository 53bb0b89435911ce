"""`python -m inception_serving.server`: tensorflow_model_server's flags."""

import sys

from inception_serving.server.flags import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
