"""The command line: options in, one call of the library, text or one JSON document out."""
