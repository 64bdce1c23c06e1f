"""Rankings compared with known accuracies: truth tables, metrics of rank agreement, and the baselines beside them."""
