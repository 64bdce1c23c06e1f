"""The command line: parses options, makes one library call, prints text or a JSON document."""
