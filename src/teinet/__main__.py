"""`python -m teinet`."""

import sys

from teinet.cli.main import main

sys.exit(main())
