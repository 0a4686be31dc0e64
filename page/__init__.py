"""What the page asks of this server: read-only answers about sizes, prices, money and images.

Knows mai and aiohttp, and neither the nodes nor ComfyUI: those hand in what it needs.
"""
