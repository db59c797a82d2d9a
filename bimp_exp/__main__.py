"""``python -m bimp_exp COMMAND ...`` does what ``bimp-exp COMMAND ...`` does."""

import sys

from bimp_exp.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "bimp-exp"  # what results record as the command
    sys.exit(main())
