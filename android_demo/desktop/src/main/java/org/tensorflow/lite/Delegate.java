package org.tensorflow.lite;

/** A delegate; none runs here. */
public interface Delegate extends AutoCloseable {
  @Override
  void close();
}
