"""The interface of search methods, and the objects that are passed to them."""
