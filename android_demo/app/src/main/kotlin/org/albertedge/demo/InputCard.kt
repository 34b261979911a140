package org.albertedge.demo

import android.text.Editable
import android.text.Spanned
import android.text.TextWatcher
import android.text.style.BackgroundColorSpan
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.EditText
import android.widget.TextView

/**
 * The one or two texts of a task, and examples of them; marks in the first what the answer names.
 */
class InputCard(root: View, texts: Texts, private val ask: (Texts) -> Unit) {
    private val firstLabel = root.find<TextView>(R.id.first_label)
    private val first = root.find<EditText>(R.id.first)
    private val secondLabel = root.find<TextView>(R.id.second_label)
    private val second = root.find<EditText>(R.id.second)
    private val examples = root.find<ViewGroup>(R.id.examples)
    private val markColor = root.context.getColor(R.color.mark)
    private var form: Form? = null

    init {
        first.setText(texts.first)
        second.setText(texts.second)
        for (field in listOf(first, second)) field.addTextChangedListener(Changed(::changed))
    }

    private fun entered(): Texts =
        Texts(first.text.toString(), if (form?.second == 0) "" else second.text.toString())

    private fun changed() {
        mark(emptyList())
        ask(entered())
    }

    fun show(session: Session) {
        session.about?.let { about -> showForm(Form.of(about.task)) }
        val isAnswered = session.texts == entered()
        mark(session.outcome?.marks.takeIf { isAnswered }.orEmpty())
    }

    private fun showForm(form: Form) {
        if (form == this.form) return
        this.form = form
        firstLabel.setText(form.first)
        if (form.second != 0) secondLabel.setText(form.second)
        for (view in listOf(secondLabel, second)) {
            view.visibility = if (form.second == 0) View.GONE else View.VISIBLE
        }
        showExamples(form)
        ask(entered())
    }

    private fun showExamples(form: Form) {
        examples.removeAllViews()
        val firsts = examples.resources.getStringArray(form.examples)
        val seconds =
            if (form.secondExamples == 0) emptyArray()
            else examples.resources.getStringArray(form.secondExamples)
        for (text in seconds.ifEmpty { firsts }) {
            val button =
                LayoutInflater.from(examples.context).inflate(R.layout.example, examples, false)
            (button as Button).text = text
            button.setOnClickListener {
                first.setText(if (seconds.isEmpty()) text else firsts.last())
                if (seconds.isNotEmpty()) second.setText(text)
            }
            examples.addView(button)
        }
    }

    private fun mark(marks: List<Mark>) {
        val text = first.text
        for (span in text.getSpans(0, text.length, BackgroundColorSpan::class.java)) {
            text.removeSpan(span)
        }
        for (mark in marks) {
            val span = BackgroundColorSpan(markColor)
            text.setSpan(span, mark.start, mark.end, Spanned.SPAN_EXCLUSIVE_EXCLUSIVE)
        }
    }

    private class Changed(private val action: () -> Unit) : TextWatcher {
        override fun beforeTextChanged(text: CharSequence, start: Int, count: Int, after: Int) =
            Unit

        override fun onTextChanged(text: CharSequence, start: Int, before: Int, count: Int) = Unit

        override fun afterTextChanged(text: Editable) = action()
    }
}
