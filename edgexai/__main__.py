"""``python -m edgexai``: the command line, where no script directory is on the path."""

import sys

from edgexai.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
