"""The Kotlin library for Android, in a JVM."""
