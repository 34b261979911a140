package org.albertedge.demo

/** A probability to draw as a bar: [fraction] in [0, 1]. */
class Bar(val label: String, val fraction: Double)

/** A place to mark in the first text, in UTF-16 code units. */
class Mark(val start: Int, val end: Int)

/**
 * What the screen shows of one run, whatever the task.
 *
 * @property headline the result in a few words.
 * @property bars the probabilities behind it, the greatest first.
 * @property marks the places in the first text that the result names.
 * @property notes what else there is to say, a line each.
 * @property tokens how many tokens the model read, special ones included; null where it ran more
 *   than once.
 * @property layersUsed how many passes ran, of files with early exit; else null.
 */
class Outcome(
    val headline: String,
    val bars: List<Bar> = emptyList(),
    val marks: List<Mark> = emptyList(),
    val notes: List<String> = emptyList(),
    val tokens: Int? = null,
    val layersUsed: Int? = null,
)
