"""A client of the MAI image models without ComfyUI or torch, for any Python program."""
