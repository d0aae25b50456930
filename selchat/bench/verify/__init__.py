"""Verification of every delivery."""
