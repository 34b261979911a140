"""Make a model smaller, and say what that costs."""
