"""Zero-cost scores: functions of a network at initialization and of a few images, without training."""
