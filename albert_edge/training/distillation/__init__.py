"""Distillation of a teacher into a narrower ALBERT, on plain text or on the examples of a task."""
