package org.albertedge.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import kotlin.math.max
import kotlin.math.min

/** How long one run took, and whether the same model and options are still in use. */
class Run(val milliseconds: Double, val current: Boolean)

/**
 * A bar for each of the last runs, the newest at the right, and a line at the median of the current
 * ones.
 *
 * A run of more than four medians, as the first one may be, ends at the upper edge: the others stay
 * readable.
 */
class LatencyPlot(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val bar = Paint(Paint.ANTI_ALIAS_FLAG)
    private val line = Paint(Paint.ANTI_ALIAS_FLAG)
    private val accent = context.getColor(R.color.accent)
    private val outline = context.getColor(R.color.outline)

    /** The runs to draw, the oldest first; at most [CAPACITY]. */
    var runs: List<Run> = emptyList()
        set(value) {
            field = value
            invalidate()
        }

    init {
        // The summary below it says the same in words.
        importantForAccessibility = IMPORTANT_FOR_ACCESSIBILITY_NO
        line.color = context.getColor(R.color.ink_soft)
        line.strokeWidth = resources.displayMetrics.density
    }

    override fun onDraw(canvas: Canvas) {
        val bottom = height - line.strokeWidth
        canvas.drawLine(0f, bottom, width.toFloat(), bottom, line)
        val middle = median(runs) ?: return
        val top = min(runs.maxOf { it.milliseconds }, 4 * middle) * 1.1
        val step = width / CAPACITY.toFloat()
        runs.forEachIndexed { index, run ->
            val left = width - (runs.size - index) * step
            val tall = max((min(run.milliseconds / top, 1.0) * bottom).toFloat(), step / 2)
            bar.color = if (run.current) accent else outline
            val radius = step / 4
            val right = left + step * 4 / 5
            canvas.drawRoundRect(left + step / 5, bottom - tall, right, bottom, radius, radius, bar)
        }
        val y = bottom - (middle / top * bottom).toFloat()
        canvas.drawLine(0f, y, width.toFloat(), y, line)
    }

    companion object {
        /** The most runs that the plot shows. */
        const val CAPACITY = 50

        /**
         * Returns the median of the current runs in ms, of all if none is current, or null if there
         * are none.
         */
        fun median(runs: List<Run>): Double? {
            val counted = runs.filter { it.current }.ifEmpty { runs }
            val sorted = counted.map { it.milliseconds }.sorted()
            return if (sorted.isEmpty()) null
            else (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2
        }
    }
}
