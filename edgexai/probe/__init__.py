"""Probe sets: made once from the twin, replayed on any engine with forward passes only."""
