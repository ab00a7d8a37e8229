"""Fast convolutions on CPUs."""
