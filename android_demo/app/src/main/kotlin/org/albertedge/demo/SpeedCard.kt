package org.albertedge.demo

import android.view.View
import android.widget.TextView

/** How long the last runs took, and how much the model read. */
class SpeedCard(root: View, repeat: () -> Unit) {
    private val latency = root.find<TextView>(R.id.latency)
    private val read = root.find<TextView>(R.id.read)
    private val repeat = root.find<View>(R.id.repeat)
    private val plot = root.find<LatencyPlot>(R.id.plot)
    private val summary = root.find<TextView>(R.id.summary)
    private val resources = root.resources

    init {
        this.repeat.setOnClickListener { repeat() }
    }

    fun show(session: Session) {
        val outcome = session.outcome
        val current = session.runs.filter { it.current }
        repeat.isEnabled = outcome != null
        plot.runs = session.runs
        read.text = outcome?.let(::describe).orEmpty()
        latency.text =
            if (outcome == null || current.isEmpty()) resources.getString(R.string.no_latency)
            else resources.getString(R.string.latency, current.last().milliseconds)
        summary.text = LatencyPlot.median(current)?.let { summarize(current, it) }.orEmpty()
    }

    private fun describe(outcome: Outcome): String {
        val tokens =
            outcome.tokens?.let { resources.getQuantityString(R.plurals.tokens, it, it) }
        val layers =
            outcome.layersUsed?.let { resources.getQuantityString(R.plurals.layers, it, it) }
        return listOfNotNull(tokens, layers).joinToString(" · ")
    }

    private fun summarize(runs: List<Run>, median: Double): String {
        val slowest = runs.maxOf { it.milliseconds }
        return resources.getQuantityString(R.plurals.summary, runs.size, runs.size, median, slowest)
    }
}
