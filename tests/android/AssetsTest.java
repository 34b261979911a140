import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import android.content.Context;
import android.content.res.AssetFileDescriptor;
import android.os.ParcelFileDescriptor;
import java.io.File;
import java.io.IOException;
import org.albertedge.AlbertEdgeException;
import org.albertedge.ModelFile;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

/** Opens assets and descriptors on Robolectric's Android; test_assets.py packs the assets. */
@RunWith(RobolectricTestRunner.class)
@Config(sdk = {23, 30, 35})
public final class AssetsTest {
  private final Context context = RuntimeEnvironment.getApplication();

  @Test
  public void anAssetThatIsStored() throws IOException {
    try (ModelFile file = ModelFile.open(context, "stored.tflite")) {
      assertEquals("classification", file.getTask());
      assertEquals("stored.tflite", file.getName());
    }
    try (AssetFileDescriptor asset = context.getAssets().openFd("stored.tflite");
        ModelFile file = ModelFile.open(asset)) {
      assertEquals("classification", file.getTask());
    }
  }

  @Test
  public void anAssetThatIsCompressed() {
    AlbertEdgeException error = refused("compressed.tflite");
    assertEquals(
        "the asset compressed.tflite is compressed, so it cannot be mapped into memory. Store it as"
            + " it is: androidResources { noCompress += \"tflite\" } in the android block of"
            + " build.gradle.kts, or aapt's -0 tflite.",
        error.getMessage());
  }

  @Test
  public void anAssetThatIsNotThere() {
    AlbertEdgeException error = refused("none.tflite");
    assertEquals("there is no asset none.tflite in this app.", error.getMessage());
  }

  @Test
  public void anAssetThatIsCutShort() {
    AlbertEdgeException error = refused("cut.tflite");
    assertEquals(
        "cut.tflite is cut short: the files behind its model are missing.", error.getMessage());
  }

  @Test
  public void aDescriptorOfAFile() throws IOException {
    File file = new File(System.getProperty("model"));
    try (ParcelFileDescriptor descriptor =
            ParcelFileDescriptor.open(file, ParcelFileDescriptor.MODE_READ_ONLY);
        ModelFile opened = ModelFile.open(descriptor, "picked")) {
      assertEquals("classification", opened.getTask());
    }
  }

  private AlbertEdgeException refused(String asset) {
    AlbertEdgeException error =
        assertThrows(AlbertEdgeException.class, () -> ModelFile.open(context, asset));
    assertEquals(AlbertEdgeException.Kind.FILE, error.getKind());
    return error;
  }
}
