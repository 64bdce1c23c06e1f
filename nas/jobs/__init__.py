"""What can run elsewhere, as plain data, and the protocol of a backend that runs it."""
