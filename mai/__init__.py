"""A client of Microsoft's MAI image models: no ComfyUI and no torch in it, for any Python program."""
