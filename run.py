"""Entry point: ``python run.py``, ``python run.py -m schedule=allr,clr budget.cycles=1,2,3``, ``python run.py --help``."""

import sys

from bimp_exp.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
