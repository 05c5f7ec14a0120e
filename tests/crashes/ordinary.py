"""A worker process without a fork server: `python -m tests.crashes.ordinary REPORTS STACK`."""

import os
import sys

from processor.worker import process as worker

if __name__ == "__main__":
    os._exit(worker.main(*map(int, sys.argv[1:])))
