package org.albertedge

import org.json.JSONObject

/**
 * What is in a file beside its weights.
 *
 * @property task one of the eight tasks, such as `classification`.
 * @property labels the label of each class.
 * @property target where it runs, such as `cpu`, `android` or `gpu`.
 * @property config `config.json`, in Hugging Face's form.
 * @property tokenizerFiles the tokenizer's files by name; empty if there is none.
 */
interface ModelFile {
    val task: String
    val labels: List<String>
    val target: String
    val config: JSONObject
    val manifest: JSONObject
    val earlyExit: EarlyExit?
    val tokenizerFiles: Map<String, ByteArray>
}
