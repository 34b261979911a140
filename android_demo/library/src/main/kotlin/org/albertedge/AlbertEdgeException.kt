package org.albertedge

/**
 * The library's only exception: its message says what is wrong, and what to do.
 *
 * @property kind what is at fault.
 */
class AlbertEdgeException(val kind: Kind, message: String, cause: Throwable? = null) :
    RuntimeException(message, cause) {

    /** What is at fault. */
    enum class Kind {
        /** The file is missing, damaged, of another program, for another target or task, or newer than this library. */
        FILE,

        /** A text, its ids or an option does not suit the model. */
        INPUT,

        /** The runtime or the accelerator of this device failed, or there is none. */
        DEVICE,
    }
}
