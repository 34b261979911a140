package org.tensorflow.lite;

import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterCreate;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterDelete;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterGetSignatureCount;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterGetSignatureKey;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterGetSignatureRunner;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsCreate;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsDelete;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsSetNumThreads;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteModelCreate;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteModelDelete;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerAllocateTensors;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerDelete;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerGetInputTensor;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerGetOutputCount;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerGetOutputName;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerGetOutputTensor;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerInvoke;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteSignatureRunnerResizeInputTensor;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorByteSize;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorCopyFromBuffer;
import static org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorData;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorflowlite.TfLiteInterpreter;
import org.bytedeco.tensorflowlite.TfLiteInterpreterOptions;
import org.bytedeco.tensorflowlite.TfLiteModel;
import org.bytedeco.tensorflowlite.TfLiteSignatureRunner;
import org.bytedeco.tensorflowlite.TfLiteTensor;

/** Signatures of a model, run through the C API; the methods are those of Android's class. */
public final class Interpreter implements AutoCloseable {
  /** The options that the library sets. */
  public static class Options {
    private int threads = 1;

    public Options setNumThreads(int threads) {
      this.threads = threads;
      return this;
    }

    public Options addDelegate(Delegate delegate) {
      throw new IllegalArgumentException("no delegate runs on a desktop");
    }

    /** Does nothing: the C API uses XNNPACK by its own rules. */
    public Options setUseXNNPACK(boolean uses) {
      return this;
    }
  }

  private final ByteBuffer content; // which the model reads as long as it lives
  private final TfLiteModel model;
  private final TfLiteInterpreter interpreter;
  private final Map<String, TfLiteSignatureRunner> runners = new HashMap<>();

  public Interpreter(ByteBuffer content, Options options) {
    this.content = content;
    model = TfLiteModelCreate(new BytePointer(content), content.remaining());
    if (model == null) throw new IllegalArgumentException("not a TFLite model");
    TfLiteInterpreterOptions made = TfLiteInterpreterOptionsCreate();
    TfLiteInterpreterOptionsSetNumThreads(made, options.threads);
    interpreter = TfLiteInterpreterCreate(model, made);
    TfLiteInterpreterOptionsDelete(made);
    if (interpreter == null) throw new IllegalArgumentException("the model cannot be loaded");
  }

  public String[] getSignatureKeys() {
    String[] keys = new String[TfLiteInterpreterGetSignatureCount(interpreter)];
    for (int index = 0; index < keys.length; index++) {
      keys[index] = TfLiteInterpreterGetSignatureKey(interpreter, index).getString();
    }
    return keys;
  }

  public String[] getSignatureOutputs(String signature) {
    TfLiteSignatureRunner runner = runner(signature);
    String[] names = new String[(int) TfLiteSignatureRunnerGetOutputCount(runner)];
    for (int index = 0; index < names.length; index++) {
      names[index] = TfLiteSignatureRunnerGetOutputName(runner, index).getString();
    }
    return names;
  }

  public void runSignature(
      Map<String, Object> inputs, Map<String, Object> outputs, String signature) {
    TfLiteSignatureRunner runner = runner(signature);
    for (Map.Entry<String, Object> input : inputs.entrySet()) {
      int[] shape = shape(input.getValue());
      BytePointer name = new BytePointer(input.getKey());
      check(TfLiteSignatureRunnerResizeInputTensor(runner, name, shape, shape.length));
    }
    check(TfLiteSignatureRunnerAllocateTensors(runner));
    for (Map.Entry<String, Object> input : inputs.entrySet()) {
      TfLiteTensor tensor =
          TfLiteSignatureRunnerGetInputTensor(runner, new BytePointer(input.getKey()));
      try (Pointer values = values(input.getValue())) {
        check(TfLiteTensorCopyFromBuffer(tensor, values, TfLiteTensorByteSize(tensor)));
      }
    }
    check(TfLiteSignatureRunnerInvoke(runner));
  }

  public Tensor getOutputTensorFromSignature(String output, String signature) {
    TfLiteTensor tensor =
        TfLiteSignatureRunnerGetOutputTensor(runner(signature), new BytePointer(output));
    Pointer data = TfLiteTensorData(tensor);
    BytePointer bytes = new BytePointer(data).capacity(TfLiteTensorByteSize(tensor));
    return () -> bytes.asByteBuffer().asReadOnlyBuffer().order(ByteOrder.nativeOrder());
  }

  @Override
  public void close() {
    for (TfLiteSignatureRunner runner : runners.values()) TfLiteSignatureRunnerDelete(runner);
    runners.clear();
    TfLiteInterpreterDelete(interpreter);
    TfLiteModelDelete(model);
  }

  private TfLiteSignatureRunner runner(String signature) {
    return runners.computeIfAbsent(
        signature,
        key -> {
          TfLiteSignatureRunner made =
              TfLiteInterpreterGetSignatureRunner(interpreter, new BytePointer(key));
          if (made == null) throw new IllegalArgumentException("no signature " + key);
          return made;
        });
  }

  private static int[] shape(Object values) {
    if (values instanceof int[][]) {
      int[][] rows = (int[][]) values;
      return new int[] {rows.length, rows[0].length};
    }
    int length = values instanceof int[] ? ((int[]) values).length : ((float[]) values).length;
    return new int[] {length};
  }

  private static Pointer values(Object values) {
    if (values instanceof int[][]) return new IntPointer(((int[][]) values)[0]); // of one row
    if (values instanceof int[]) return new IntPointer((int[]) values);
    return new FloatPointer((float[]) values);
  }

  private static void check(int status) {
    if (status != 0) throw new IllegalArgumentException("TFLite failed with status " + status);
  }
}
