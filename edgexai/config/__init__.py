"""Schemas of recipes and dataset cards; strict and torch-free."""
