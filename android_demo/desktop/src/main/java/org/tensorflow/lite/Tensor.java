package org.tensorflow.lite;

import java.nio.ByteBuffer;

/** An output as Android's class has it. */
public interface Tensor {
  /** Returns the values where the runtime has them, in native order. */
  ByteBuffer asReadOnlyBuffer();
}
