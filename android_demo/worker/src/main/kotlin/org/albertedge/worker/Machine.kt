package org.albertedge.worker

import android.os.Debug
import java.io.File
import java.io.IOException
import org.json.JSONObject

/** Returns what the kernel reports of this process's memory; null before Android 9. */
internal fun readMemory(): Any = readText(File("/proc/self/smaps_rollup")) ?: JSONObject.NULL

/**
 * Resets the peak of this process's memory to the current one; returns whether the kernel allows
 * it.
 */
internal fun resetPeak(): Boolean =
    try {
        File("/proc/self/clear_refs").writeText("5") // proc(5): the peak resident set size
        true
    } catch (error: IOException) {
        false
    }

/**
 * Returns the content of the files that match a pattern of the job, in `watched`, by path; an
 * asterisk stands for any part of a name.
 */
internal fun readTexts(job: JSONObject): JSONObject {
    val texts = JSONObject()
    val patterns = job.getJSONArray("watched")
    for (index in 0 until patterns.length()) {
        val names = patterns.getString(index).trim('/').split('/')
        for (file in names.fold(listOf(File("/")), ::children)) {
            readText(file)?.let { texts.put(file.path, it) }
        }
    }
    return texts
}

private fun children(folders: List<File>, name: String): List<File> {
    if ('*' !in name) return folders.map { File(it, name) }
    val pattern = Regex(name.split('*').joinToString(".*", transform = Regex::escape))
    return folders.flatMap { folder ->
        folder.listFiles { _, one -> pattern.matches(one) }.orEmpty().toList()
    }
}

/** Returns the content of a file of /proc or /sys; null if it cannot be read. */
internal fun readText(file: File): String? =
    try {
        file.readText()
    } catch (error: IOException) {
        null
    }

/**
 * The CPU time of this process.
 *
 * @param isAlone whether this thread computes alone: then the others, such as the garbage
 *   collector's, do not count.
 */
internal class CpuClock(private val isAlone: Boolean) {
    /** Returns the CPU time so far in nanoseconds. */
    fun readNs(): Long = threadNs() + if (isAlone) 0 else othersNs()

    private fun threadNs(): Long =
        try {
            Debug.threadCpuTimeNanos()
        } catch (error: LinkageError) { // in a desktop's JVM
            scheduledNs(File("/proc/thread-self"))
        }

    // The kernel updates the count when a thread stops: the others wait for the next inference.
    private fun othersNs(): Long {
        val own = File("/proc/thread-self").canonicalFile.name
        val threads = File("/proc/self/task").listFiles().orEmpty()
        return threads.filter { it.name != own }.sumOf(::scheduledNs)
    }

    private fun scheduledNs(folder: File): Long =
        readText(File(folder, "schedstat"))?.substringBefore(' ')?.toLongOrNull() ?: 0
}
