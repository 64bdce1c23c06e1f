"""What a search method is, and what it is given."""
