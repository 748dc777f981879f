"""Runs on disk: folders, checkpoints, progress, writers, and the processes that share them."""
