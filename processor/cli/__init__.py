"""The command line: `kproc`."""
