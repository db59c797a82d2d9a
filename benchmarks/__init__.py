"""``python -m benchmarks``: what this machine trains, evaluates and selects per second, side by side with plain code."""
