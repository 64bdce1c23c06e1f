"""The command line: each command parses options, makes one library call, and prints text or one JSON document."""
