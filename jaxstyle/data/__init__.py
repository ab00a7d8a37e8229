"""Photos to train on."""
