package org.albertedge.demo

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.view.View
import android.view.WindowInsets
import android.widget.Toast
import org.albertedge.Accelerator

/** Runs a model on what one types, and shows the answer, its probabilities and its latency. */
class MainActivity : Activity() {
    private lateinit var session: Session
    private lateinit var modelCard: ModelCard
    private lateinit var inputCard: InputCard
    private lateinit var answerCard: AnswerCard
    private lateinit var speedCard: SpeedCard

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        val root = findViewById<View>(R.id.root)!!
        keepOffSystemBars(root)
        session = lastNonConfigurationInstance as Session? ?: Session(this, savedSetting(state))
        modelCard = ModelCard(root, session.setting, ::choose, ::chooseFile)
        inputCard = InputCard(root, session.texts) { session.ask(it) }
        answerCard = AnswerCard(root)
        speedCard = SpeedCard(root) { session.ask(session.texts, times = LatencyPlot.CAPACITY) }
        session.listener = ::show
        show()
    }

    private fun show() {
        modelCard.show(session)
        inputCard.show(session)
        answerCard.show(session)
        speedCard.show(session)
    }

    private fun choose(setting: Setting) {
        if (setting != session.setting) session.open(setting)
    }

    private fun chooseFile() {
        // No provider knows a type of .tflite files.
        val intent =
            Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*")
        try {
            startActivityForResult(intent, OPEN_FILE)
        } catch (_: ActivityNotFoundException) {
            Toast.makeText(this, R.string.no_file_manager, Toast.LENGTH_LONG).show()
        }
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val file = data?.data
        if (requestCode != OPEN_FILE || resultCode != RESULT_OK || file == null) return
        if (data.flags and Intent.FLAG_GRANT_PERSISTABLE_URI_PERMISSION != 0) {
            val read = Intent.FLAG_GRANT_READ_URI_PERMISSION
            contentResolver.takePersistableUriPermission(file, read)
        }
        session.open(session.setting.copy(file = file))
    }

    override fun onRetainNonConfigurationInstance(): Any = session

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putString(FILE, session.setting.file.toString())
        state.putString(ACCELERATOR, session.setting.accelerator.name)
        state.putInt(THREADS, session.setting.threads)
    }

    /** Returns the setting before the system ended the process, or that of a first start. */
    private fun savedSetting(state: Bundle?): Setting {
        val first = Embedded.SENTIMENT_CPU
        val file = state?.getString(FILE) ?: return Setting(first.file, first.accelerator, 1)
        val accelerator = Accelerator.valueOf(state.getString(ACCELERATOR)!!)
        return Setting(Uri.parse(file), accelerator, state.getInt(THREADS))
    }

    override fun onDestroy() {
        session.listener = null
        if (!isChangingConfigurations) session.close()
        super.onDestroy()
    }

    private companion object {
        const val OPEN_FILE = 1
        const val FILE = "file"
        const val ACCELERATOR = "accelerator"
        const val THREADS = "threads"

        /** From Android 15 on, the content reaches under the system's bars, and the keyboard's. */
        fun keepOffSystemBars(root: View) {
            root.setOnApplyWindowInsetsListener { view, insets ->
                if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
                    val bars = WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout()
                    val room = insets.getInsets(bars or WindowInsets.Type.ime())
                    view.setPadding(room.left, room.top, room.right, room.bottom)
                }
                insets
            }
        }
    }
}
