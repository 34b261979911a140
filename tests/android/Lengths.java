import java.io.File;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.tensorflow.lite.Interpreter;

/**
 * Runs texts of several lengths in one Interpreter: {@code Lengths MODEL default|on|off LENGTH...}.
 *
 * <p>For each it prints the logits, or "refused".
 */
public class Lengths {
  public static void main(String[] words) {
    Interpreter.Options options = new Interpreter.Options().setNumThreads(1);
    if (!words[1].equals("default")) {
      options.setUseXNNPACK(words[1].equals("on"));
    }
    try (Interpreter interpreter = new Interpreter(new File(words[0]), options)) {
      for (String length : Arrays.copyOfRange(words, 2, words.length)) {
        System.out.println(run(interpreter, Integer.parseInt(length)));
      }
    }
  }

  private static String run(Interpreter interpreter, int length) {
    Map<String, Object> inputs = new HashMap<>();
    int[] ids = new int[length];
    Arrays.setAll(ids, place -> 5 + 37 * place % 3000);
    inputs.put("input_ids", new int[][] {ids});
    inputs.put("token_type_ids", new int[1][length]);
    inputs.put("patience", new int[] {99});
    inputs.put("threshold", new float[] {2});
    inputs.put("max_layers", new int[] {99});
    float[][] logits = new float[1][2];
    Map<String, Object> outputs = new HashMap<>();
    outputs.put("logits", logits);
    try {
      interpreter.runSignature(inputs, outputs, "serving_default");
    } catch (IllegalStateException error) {
      return "refused";
    }
    return logits[0][0] + " " + logits[0][1];
  }
}
