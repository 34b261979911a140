import android.content.Context;
import java.io.File;
import java.util.List;
import org.albertedge.AlbertEdgeException;
import org.albertedge.Answer;
import org.albertedge.BaseOptions;
import org.albertedge.Bullet;
import org.albertedge.Candidate;
import org.albertedge.Category;
import org.albertedge.FilledMask;
import org.albertedge.LabeledSpan;
import org.albertedge.MaskFiller;
import org.albertedge.MaskFiller.MaskFillerOptions;
import org.albertedge.PretrainingHeads;
import org.albertedge.PretrainingHeadsResult;
import org.albertedge.QuestionAnswerer;
import org.albertedge.QuestionAnswerer.QuestionAnswererOptions;
import org.albertedge.QuestionAnswererResult;
import org.albertedge.SentenceOrderClassifier;
import org.albertedge.TextClassifier;
import org.albertedge.TextClassifier.TextClassifierOptions;
import org.albertedge.TextClassifierResult;
import org.albertedge.TextEmbedder;
import org.albertedge.TextEmbedder.Pooling;
import org.albertedge.TextEmbedder.TextEmbedderOptions;
import org.albertedge.TextSummarizer;
import org.albertedge.TextSummarizer.TextSummarizerOptions;
import org.albertedge.TokenClassifier;
import org.albertedge.TokenClassifier.Aggregation;
import org.albertedge.TokenClassifier.TokenClassifierOptions;

/** The library as an app in Java uses it: `UseFromJava MODEL TEXT` prints what it predicts. */
public final class UseFromJava {
  public static void main(String[] arguments) {
    BaseOptions base = BaseOptions.builder().setNumThreads(2).build();
    TextClassifierOptions options =
        TextClassifierOptions.builder().setBaseOptions(base).setPatience(1).setMaxLayers(3).build();
    try (TextClassifier classifier =
        TextClassifier.createFromFile(new File(arguments[0]), options)) {
      TextClassifierResult result = classifier.classify(arguments[1]);
      for (Category category : result.getCategories()) {
        System.out.println(category.getLabel() + " " + category.getScore());
      }
      System.out.println(result.getLabel() + " " + result.getLayersUsed() + " layers");
      classifier.classify("");
    } catch (AlbertEdgeException error) {
      System.out.println(error.getKind() + ": " + error.getMessage());
    }
  }

  static List<Answer> answers(Context context, String question, String passage) {
    QuestionAnswererOptions options =
        QuestionAnswererOptions.builder().setAllowNoAnswer(true).setMaxResults(3).build();
    try (QuestionAnswerer answerer =
        QuestionAnswerer.createFromAsset(context, "questions.tflite", options)) {
      QuestionAnswererResult result = answerer.answer(question, passage);
      return result.getAnswer().isNoAnswer() ? List.of() : result.getAnswers();
    }
  }

  static List<LabeledSpan> entities(File file, String text) {
    TokenClassifierOptions options =
        TokenClassifierOptions.builder().setAggregation(Aggregation.MAX).build();
    try (TokenClassifier tagger = TokenClassifier.createFromFile(file, options)) {
      return tagger.classify(text).getEntities();
    }
  }

  static String fill(File file, String text) {
    MaskFillerOptions options = MaskFillerOptions.builder().setMaxResults(2).build();
    try (MaskFiller filler = MaskFiller.createFromFile(file, options)) {
      FilledMask mask = filler.fill(text).getMasks().get(0);
      Candidate best = mask.getCandidates().get(0);
      return best.getText();
    }
  }

  static double similarity(File file, String one, String other) {
    TextEmbedderOptions options =
        TextEmbedderOptions.builder().setPooling(Pooling.CLS).setNormalize(true).build();
    try (TextEmbedder embedder = TextEmbedder.createFromFile(file, options)) {
      float[] first = embedder.embed(one).getEmbedding();
      float[] second = embedder.embed(other, one).getEmbedding();
      return TextEmbedder.cosineSimilarity(first, second);
    }
  }

  static List<Bullet> summary(File file, List<String> sentences) {
    TextSummarizerOptions options = TextSummarizerOptions.builder().setMaxBullets(2).build();
    try (TextSummarizer summarizer = TextSummarizer.createFromFile(file, options)) {
      return summarizer.summarize(sentences).getBullets();
    }
  }

  static boolean isInOrder(Context context, String first, String second) {
    try (SentenceOrderClassifier classifier =
        SentenceOrderClassifier.createFromAsset(context, "order.tflite")) {
      return classifier.classify(first, second).isInOrder();
    }
  }

  static String order(File file, String first, String second) {
    try (PretrainingHeads heads = PretrainingHeads.createFromFile(file)) {
      PretrainingHeadsResult result = heads.predict(first, second);
      return result.getOrder().getLabel();
    }
  }
}
