"""`python -m orchestrator`: the operator's command line."""

import sys

from orchestrator.cli.main import run

sys.exit(run())
