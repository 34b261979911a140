"""Score `.tflite` files with the official metrics of their tasks, with 95% intervals."""
