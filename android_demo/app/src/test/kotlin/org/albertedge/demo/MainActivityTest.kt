package org.albertedge.demo

import android.app.Activity
import android.content.ContentProvider
import android.content.ContentValues
import android.content.Intent
import android.content.pm.ProviderInfo
import android.database.Cursor
import android.database.MatrixCursor
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Insets
import android.net.Uri
import android.os.Build
import android.os.Looper
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import android.text.style.BackgroundColorSpan
import android.view.View
import android.view.ViewGroup
import android.view.WindowInsets
import android.widget.EditText
import android.widget.RadioButton
import android.widget.Spinner
import android.widget.TextView
import java.io.File
import java.io.FileNotFoundException
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** The activity with the real library, runtime and models; tests/android/test_app.py runs it. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [23, 30, 35], qualifiers = "w411dp-h891dp-xhdpi")
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class MainActivityTest {
    private var controller: ActivityController<MainActivity>? = null

    @Before
    fun offerFiles() {
        val info = ProviderInfo().apply { authority = AUTHORITY }
        Robolectric.buildContentProvider(Files::class.java).create(info)
    }

    @After
    fun close() {
        controller?.pause()?.stop()?.destroy()
    }

    private fun start(): Screen {
        val made = Robolectric.buildActivity(MainActivity::class.java).setup()
        controller = made
        return Screen(made.get()).apply { waitFor("the model") { about.startsWith("class") } }
    }

    @Test
    fun typingGivesTheAnswer() {
        val screen = start()
        assertEquals("classification · int8 · 3.1 MB", screen.about)
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        val (positive, negative) = screen.bars()
        assertTrue(positive, positive.startsWith("positive, 93."))
        assertTrue(negative, negative.startsWith("negative, 6."))
        assertEquals("14 tokens · 3 layers", screen.text(R.id.read))
        assertTrue(screen.text(R.id.latency).endsWith(" ms"))
        screen.type(BAD)
        screen.waitFor("the other answer") { headline == "negative" }
        screen.type("")
        screen.waitFor("no answer") { headline == "Type something" }
        assertTrue(screen.bars().isEmpty())
    }

    @Test
    fun anExampleIsAnswered() {
        val screen = start()
        screen.examples()[1].performClick()
        screen.waitFor("an answer") { headline == "negative" }
        assertEquals(screen.examples()[1].text.toString(), screen.text(R.id.first))
    }

    @Test
    fun onlyTheNewestTextIsAnswered() {
        val screen = start()
        for (length in 1..GOOD.length) screen.type(GOOD.take(length))
        screen.type(BAD)
        screen.waitFor("an answer") { headline.isNotEmpty() && headline != "Type something" }
        assertEquals("negative", screen.headline)
        assertTrue(screen.runs < GOOD.length)
    }

    @Test
    fun rotationKeepsTheAnswer() {
        val screen = start()
        screen.activity.find<RadioButton>(R.id.threads_2).performClick()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        val before = screen.bars() + screen.text(R.id.latency) + screen.text(R.id.read)
        RuntimeEnvironment.setQualifiers("w891dp-h411dp-land")
        controller!!.configurationChange()
        val turned = Screen(controller!!.get())
        assertFalse(turned.activity === screen.activity)
        assertEquals("positive", turned.headline)
        assertEquals(GOOD, turned.text(R.id.first))
        assertTrue(turned.activity.find<RadioButton>(R.id.threads_2).isChecked)
        assertEquals(before, turned.bars() + turned.text(R.id.latency) + turned.text(R.id.read))
        assertEquals(screen.runs, turned.runs)
        turned.type(BAD)
        turned.waitFor("an answer") { headline == "negative" }
    }

    @Test
    fun aNewProcessRestoresTextAndOptions() {
        val screen = start()
        screen.activity.find<RadioButton>(R.id.threads_4).performClick()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        val state = android.os.Bundle()
        controller!!.saveInstanceState(state).pause().stop().destroy()
        controller = Robolectric.buildActivity(MainActivity::class.java).setup(state)
        val next = Screen(controller!!.get())
        next.waitFor("an answer") { headline == "positive" }
        assertEquals(GOOD, next.text(R.id.first))
        assertTrue(next.activity.find<RadioButton>(R.id.threads_4).isChecked)
    }

    @Test
    fun aWrongFileGivesAMessage() {
        val screen = start()
        val messages = mapOf(
            "damaged.tflite" to "damaged.tflite is damaged",
            "photo.tflite" to "photo.tflite",
            "empty.tflite" to "empty.tflite",
            "gone.tflite" to "gone.tflite cannot be opened",
        )
        for ((name, message) in messages) {
            screen.open(name)
            screen.waitFor(name) { error.contains(message) }
            assertEquals(View.GONE, screen.activity.find<View>(R.id.headline).visibility)
            assertEquals(name, screen.activity.find<Spinner>(R.id.model).selectedItem)
        }
        screen.choose(Embedded.SENTIMENT_CPU)
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" && error.isEmpty() }
    }

    @Test
    fun aQuestionIsAnsweredInThePassage() {
        val screen = start()
        screen.open("answers.tflite")
        screen.waitFor("the model") { about.startsWith("question-answering") }
        screen.examples()[0].performClick()
        screen.waitFor("an answer") { bars().size == 3 }
        assertEquals(listOf(screen.headline), screen.marked())
        screen.picture("answer")
        screen.activity.find<EditText>(R.id.second).setText("")
        screen.waitFor("no answer") { bars().isEmpty() }
        assertTrue(screen.marked().isEmpty())
    }

    @Test
    fun theEmbeddedQuestionsModelKnowsWhenThereIsNoAnswer() {
        val screen = start()
        screen.choose(Embedded.QUESTIONS)
        screen.waitFor("the model") { about.startsWith("question-answering · int8") }
        screen.examples()[0].performClick()
        screen.waitFor("an answer") { headline == "Ann Moray" }
        screen.picture("questions")
        screen.examples().last().performClick()
        screen.waitFor("no answer") { headline == "(no answer)" }
        assertTrue(screen.marked().isEmpty())
    }

    @Test
    fun theEmbeddedEmbeddingsModelComparesSentences() {
        val screen = start()
        screen.choose(Embedded.EMBEDDINGS)
        screen.waitFor("the model") { about.startsWith("feature-extraction · int8") }
        val (alike, other) = screen.examples().map { example ->
            screen.activity.find<EditText>(R.id.second).setText("")
            screen.waitFor("no cosine") { !headline.startsWith("Cosine") }
            example.performClick()
            screen.waitFor("a cosine") { headline.startsWith("Cosine") }
            screen.picture("similar")
            screen.headline.removePrefix("Cosine ").toFloat()
        }
        assertTrue("$alike, $other", alike > other + 0.3)
    }

    @Test
    fun theGpuGivesTheSameAnswer() {
        val screen = start()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        screen.activity.find<RadioButton>(R.id.gpu).performClick()
        screen.waitFor("the model") { about.contains("GPU and CPU differ by") }
        assertTrue(screen.about, screen.about.startsWith("classification · float16 · 5.6 MB"))
        assertEquals(1, screen.activity.find<Spinner>(R.id.model).selectedItemPosition)
        screen.waitFor("an answer") { headline == "positive" }
        assertEquals("14 tokens", screen.text(R.id.read))
        screen.choose(Embedded.SENTIMENT_CPU)
        screen.waitFor("the model") { about.contains("int8") }
        assertTrue(screen.activity.find<RadioButton>(R.id.cpu).isChecked)
    }

    @Test
    fun fiftyRunsFillThePlot() {
        val screen = start()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        screen.activity.find<View>(R.id.repeat).performClick()
        screen.waitFor("50 runs") { runs == LatencyPlot.CAPACITY }
        assertTrue(screen.text(R.id.summary).startsWith("Last 50 runs: median "))
    }

    @Test
    fun itMayBeClosedWhileTheModelRuns() {
        val screen = start()
        screen.type(GOOD)
        screen.activity.find<View>(R.id.repeat).performClick()
        screen.activity.finish()
        close()
        controller = null
        shadowOf(Looper.getMainLooper()).idle()
    }

    @Test
    fun nothingLiesUnderTheSystemsBars() {
        assumeTrue(Build.VERSION.SDK_INT >= Build.VERSION_CODES.R)
        val root = start().activity.find<View>(R.id.root)
        val types = WindowInsets.Type.systemBars()
        val insets = WindowInsets.Builder().setInsets(types, Insets.of(3, 50, 5, 30)).build()
        root.dispatchApplyWindowInsets(insets)
        val padding = with(root) { listOf(paddingLeft, paddingTop, paddingRight, paddingBottom) }
        assertEquals(listOf(3, 50, 5, 30), padding)
    }

    @Test
    fun everythingThatTakesATouchIsLabelledAndLargeEnough() {
        val screen = start()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        val least = (48 * screen.activity.resources.displayMetrics.density).toInt()
        val all = views(screen.activity.window.decorView)
        val touched = all.filter { it.isClickable && it.isShown }
        assertTrue(touched.size >= 10)
        for (view in touched) {
            val name = view.resources.getResourceEntryName(view.id.takeIf { it > 0 } ?: R.id.root)
            val label =
                view.contentDescription ?: (view as? TextView)?.run { text.ifEmpty { hint } }
            assertFalse("$name has no label", label.isNullOrBlank())
            assertTrue("$name is only ${view.height} high", view.height >= least)
        }
        val headline = screen.activity.find<View>(R.id.headline)
        assertEquals(View.ACCESSIBILITY_LIVE_REGION_POLITE, headline.accessibilityLiveRegion)
    }

    @Test fun light() = show("light", "w411dp-h891dp-notnight-xhdpi")

    @Test fun dark() = show("dark", "w411dp-h891dp-night-xhdpi")

    @Test fun landscape() = show("landscape", "w891dp-h411dp-land-xhdpi")

    @Test
    fun largeFont() {
        RuntimeEnvironment.setFontScale(1.7f)
        show("large_font", "w411dp-h891dp-xhdpi")
    }

    private fun show(name: String, qualifiers: String) {
        RuntimeEnvironment.setQualifiers(qualifiers)
        val screen = start()
        screen.type(GOOD)
        screen.waitFor("an answer") { headline == "positive" }
        screen.activity.find<View>(R.id.repeat).performClick()
        screen.waitFor("50 runs") { runs == LatencyPlot.CAPACITY }
        screen.picture(name)
    }

    private companion object {
        const val AUTHORITY = "org.albertedge.demo.test"
        const val GOOD = "A quiet, moving film that stays with you for days."
        const val BAD = "Two hours of my life that I will never get back."

        fun <T : View> Activity.find(id: Int): T = window.decorView.find(id)

        fun views(view: View): List<View> =
            listOf(view) +
                (view as? ViewGroup).let { group ->
                    (0 until (group?.childCount ?: 0)).flatMap { views(group!!.getChildAt(it)) }
                }
    }

    /** What a user sees and does. */
    private class Screen(val activity: MainActivity) {
        val headline: String
            get() = text(R.id.headline)

        val about: String
            get() = text(R.id.about)

        val error: String
            get() = text(R.id.message)

        val runs: Int
            get() = activity.find<LatencyPlot>(R.id.plot).runs.size

        fun text(id: Int): String = activity.find<TextView>(id).text.toString()

        /** What TalkBack reads of each bar. */
        fun bars(): List<String> {
            val group = activity.find<ViewGroup>(R.id.bars)
            return (0 until group.childCount).map { "${group.getChildAt(it).contentDescription}" }
        }

        fun examples(): List<TextView> {
            val group = activity.find<ViewGroup>(R.id.examples)
            return (0 until group.childCount).map { group.getChildAt(it) as TextView }
        }

        /** What is marked in the first text. */
        fun marked(): List<String> {
            val text = activity.find<EditText>(R.id.first).text
            return text.getSpans(0, text.length, BackgroundColorSpan::class.java).map {
                text.subSequence(text.getSpanStart(it), text.getSpanEnd(it)).toString()
            }
        }

        fun type(text: String) = activity.find<EditText>(R.id.first).setText(text)

        fun choose(model: Embedded) =
            activity.find<Spinner>(R.id.model).setSelection(model.ordinal)

        /** Opens a file as a user does: a button, the system's screen, a tap. */
        fun open(name: String) {
            activity.find<View>(R.id.open_file).performClick()
            val asked = shadowOf(activity).nextStartedActivityForResult.intent
            assertEquals(Intent.ACTION_OPEN_DOCUMENT, asked.action)
            val chosen = Intent().setData(Uri.parse("content://$AUTHORITY/$name"))
            shadowOf(activity).receiveResult(asked, Activity.RESULT_OK, chosen)
        }

        fun waitFor(what: String, condition: Screen.() -> Boolean) {
            val end = System.nanoTime() + 120_000_000_000
            shadowOf(Looper.getMainLooper()).idle()
            while (!condition()) {
                check(System.nanoTime() < end) { "no $what: headline $headline, message $error" }
                Thread.sleep(5)
                shadowOf(Looper.getMainLooper()).idle()
            }
        }

        fun picture(name: String) {
            val view = activity.window.decorView
            val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
            view.draw(Canvas(bitmap))
            val folder = File(System.getProperty("pictures")!!)
            folder.mkdirs()
            File(folder, "$name.png").outputStream().use {
                bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)
            }
        }
    }

    /** The files of the test's folder, as a file manager offers them. */
    class Files : ContentProvider() {
        override fun onCreate() = true

        override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
            val file = File(System.getProperty("files")!!, uri.lastPathSegment!!)
            if (!file.exists()) throw FileNotFoundException()
            return ParcelFileDescriptor.open(file, ParcelFileDescriptor.MODE_READ_ONLY)
        }

        override fun query(
            uri: Uri,
            columns: Array<String>?,
            selection: String?,
            arguments: Array<String>?,
            order: String?,
        ): Cursor =
            MatrixCursor(arrayOf(OpenableColumns.DISPLAY_NAME)).apply {
                addRow(arrayOf(uri.lastPathSegment))
            }

        override fun getType(uri: Uri) = "application/octet-stream"

        override fun insert(uri: Uri, values: ContentValues?): Uri? = null

        override fun delete(uri: Uri, selection: String?, arguments: Array<String>?) = 0

        override fun update(
            uri: Uri,
            values: ContentValues?,
            selection: String?,
            arguments: Array<String>?,
        ) = 0
    }
}
