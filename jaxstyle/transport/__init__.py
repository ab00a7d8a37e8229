"""Any painting in one pass: the encoder, and decoders of its features."""
