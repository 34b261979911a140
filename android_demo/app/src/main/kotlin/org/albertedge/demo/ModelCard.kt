package org.albertedge.demo

import android.net.Uri
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.RadioButton
import android.widget.RadioGroup
import android.widget.Spinner
import android.widget.TextView
import org.albertedge.Accelerator

/** The files in the app; sentiment is converted for either place where it can run. */
enum class Embedded(val title: Int, val accelerator: Accelerator, asset: String) {
    SENTIMENT_CPU(R.string.sentiment_cpu, Accelerator.CPU, "sentiment_cpu.tflite"),
    SENTIMENT_GPU(R.string.sentiment_gpu, Accelerator.GPU, "sentiment_gpu.tflite"),
    QUESTIONS(R.string.questions, Accelerator.CPU, "questions.tflite"),
    EMBEDDINGS(R.string.embeddings, Accelerator.CPU, "embeddings.tflite");

    val file: Uri = Uri.parse("file:///android_asset/$asset")
}

/** Chooses the file, and what runs it. */
class ModelCard(
    root: View,
    private var setting: Setting,
    private val choose: (Setting) -> Unit,
    chooseFile: () -> Unit,
) {
    private val models = root.find<Spinner>(R.id.model)
    private val about = root.find<TextView>(R.id.about)
    private val cpu = root.find<RadioButton>(R.id.cpu)
    private val gpu = root.find<RadioButton>(R.id.gpu)
    private val threads = root.find<RadioGroup>(R.id.threads)
    private val titles =
        ArrayAdapter<String>(root.context, R.layout.model).apply {
            setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
            addAll(Embedded.entries.map { root.context.getString(it.title) })
        }
    private var opened: Uri? = null
    private var shown: Setting? = null
    private var shownName: String? = null

    init {
        models.adapter = titles
        root.find<View>(R.id.open_file).setOnClickListener { chooseFile() }
        models.onItemSelectedListener =
            object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(
                    parent: AdapterView<*>?,
                    view: View?,
                    position: Int,
                    id: Long,
                ) = chooseModel(position)

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
        root.find<RadioGroup>(R.id.accelerator).setOnCheckedChangeListener { _, id ->
            chooseAccelerator(if (id == R.id.gpu) Accelerator.GPU else Accelerator.CPU)
        }
        threads.setOnCheckedChangeListener { group, id ->
            val tag = group.find<RadioButton>(id).tag as String
            choose(setting.copy(threads = tag.toInt()))
        }
    }

    private fun chooseModel(position: Int) {
        val embedded = Embedded.entries.getOrNull(position)
        if (embedded != null) {
            choose(setting.copy(file = embedded.file, accelerator = embedded.accelerator))
        } else {
            opened?.let { choose(setting.copy(file = it)) }
        }
    }

    /**
     * Of sentiment, takes the file that was made for it; another file says itself whether it can
     * run there.
     */
    private fun chooseAccelerator(accelerator: Accelerator) {
        val sentiment = listOf(Embedded.SENTIMENT_CPU, Embedded.SENTIMENT_GPU)
        val isSentiment = sentiment.any { it.file == setting.file }
        val made = sentiment.first { it.accelerator == accelerator }
        val file = if (isSentiment) made.file else setting.file
        choose(setting.copy(file = file, accelerator = accelerator))
    }

    fun show(session: Session) {
        setting = session.setting
        // Only what is new: a choice of the user that is under way stays.
        if (setting != shown || session.fileName != shownName) showModel(session.fileName)
        (if (setting.accelerator == Accelerator.GPU) gpu else cpu).isChecked = true
        threads.findViewWithTag<RadioButton>(setting.threads.toString())!!.isChecked = true
        about.text = describe(session)
    }

    private fun showModel(name: String) {
        shown = setting
        shownName = name
        val embedded = Embedded.entries.indexOfFirst { it.file == setting.file }
        if (embedded < 0) showOpened(setting.file, name)
        models.setSelection(if (embedded < 0) Embedded.entries.size else embedded)
    }

    private fun showOpened(file: Uri, name: String) {
        val place = Embedded.entries.size
        if (opened == file && titles.getItem(place) == name) return
        opened = file
        if (titles.count > place) titles.remove(titles.getItem(place))
        titles.add(name)
    }

    private fun describe(session: Session): String {
        val resources = about.resources
        val known = session.about
        return when {
            known != null -> known.text
            session.error != null -> ""
            else -> resources.getString(R.string.opening)
        }
    }
}
