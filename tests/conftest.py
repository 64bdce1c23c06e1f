"""What all tests share: one thread each, so that small tensors are quick and other work on the machine does no harm."""

import os

# Before anything imports torch; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
