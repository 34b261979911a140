package org.tensorflow.lite;

import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteVersion;

/** The runtime's version as Android's class has it. */
public final class TensorFlowLite {
  private TensorFlowLite() {}

  /** Returns the version, such as "2.19.0". */
  public static String runtimeVersion() {
    return TfLiteVersion().getString();
  }
}
