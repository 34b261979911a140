package org.albertedge.demo

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import kotlin.math.roundToInt

/** The result in words and bars, or why there is none. */
class AnswerCard(root: View) {
    private val message = root.find<TextView>(R.id.message)
    private val headline = root.find<TextView>(R.id.headline)
    private val bars = root.find<ViewGroup>(R.id.bars)
    private val notes = root.find<TextView>(R.id.notes)

    fun show(session: Session) {
        val outcome = session.outcome
        message.say(session.error.orEmpty())
        message.showIf(session.error != null)
        headline.say(outcome?.headline ?: headline.resources.getString(R.string.nothing_yet))
        headline.showIf(session.error == null)
        showBars(outcome?.bars.orEmpty())
        notes.text = outcome?.notes.orEmpty().joinToString("\n")
        notes.showIf(notes.text.isNotEmpty())
    }

    private fun showBars(shown: List<Bar>) {
        while (bars.childCount > shown.size) bars.removeViewAt(bars.childCount - 1)
        while (bars.childCount < shown.size) {
            LayoutInflater.from(bars.context).inflate(R.layout.bar, bars)
        }
        shown.forEachIndexed { index, bar -> show(bars.getChildAt(index), bar) }
    }

    private fun show(row: View, bar: Bar) {
        val percent = 100 * bar.fraction
        row.find<TextView>(R.id.label).text = bar.label
        row.find<TextView>(R.id.percent).text =
            row.resources.getString(R.string.percent, percent)
        row.find<ProgressBar>(R.id.bar).progress = (10 * percent).roundToInt()
        row.contentDescription =
            row.resources.getString(R.string.bar_description, bar.label, percent)
    }

    private companion object {
        /** Sets a text, which TalkBack reads aloud, only if it is a new one. */
        fun TextView.say(text: String) {
            if (this.text.toString() != text) this.text = text
        }

    }
}
