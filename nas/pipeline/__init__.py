"""One search, from its plan to its exported winners; also `nas train`."""
