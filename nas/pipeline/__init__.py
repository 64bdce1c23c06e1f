"""One search from its plan to its exported winners; `nas train` beside it."""
