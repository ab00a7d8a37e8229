"""Fast convolutions on CPUs, and optimal transport between normal distributions."""
