import java.io.File;
import org.albertedge.TextClassifier;
import org.albertedge.TextClassifierResult;

/** Classifies a text as an app in Java does: `Consumer MODEL TEXT`. */
public final class Consumer {
  public static void main(String[] arguments) {
    try (TextClassifier classifier = TextClassifier.createFromFile(new File(arguments[0]))) {
      TextClassifierResult result = classifier.classify(arguments[1]);
      System.out.println(result.getLabel() + " " + result.getScore());
    }
  }
}
