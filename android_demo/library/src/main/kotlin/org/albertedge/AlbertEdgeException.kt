package org.albertedge

/**
 * The library's only exception: its message says what is wrong, and what to do.
 *
 * @property kind what is at fault.
 */
class AlbertEdgeException
@JvmOverloads
constructor(val kind: Kind, message: String, cause: Throwable? = null) :
    RuntimeException(message, cause) {

    /** What is at fault. */
    enum class Kind {
        /** The file: missing, damaged, of another program, for another task or target, or newer. */
        FILE,

        /** A text, its ids or an option does not suit the model, or the model is closed. */
        INPUT,

        /** The runtime or the accelerator of this device failed, or there is none. */
        DEVICE,
    }
}
