"""Run the command line as ``python -m jaxstyle``."""

import sys

from jaxstyle.cli.main import main

sys.exit(main())
