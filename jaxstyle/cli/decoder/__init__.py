"""The training of the decoder, by ``scripts/train_decoder.py``."""
