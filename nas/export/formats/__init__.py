"""The formats of an exported network: one class in one file for each."""
