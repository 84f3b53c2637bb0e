"""Onto the board: the bundle, the agent that travels in it, and the golden vectors it is verified against."""
