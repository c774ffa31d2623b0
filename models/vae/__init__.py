"""Causal video autoencoder: 1+4k frames to 1+k latents of 16 channels."""
