"""The demo: an example workflow from end to end, in a real ComfyUI or without one."""
