package org.albertedge.demo

import android.view.View

/** Returns the view with an id, which the layout has. */
internal fun <T : View> View.find(id: Int): T = findViewById<T>(id)!!

internal fun View.showIf(shown: Boolean) {
    visibility = if (shown) View.VISIBLE else View.GONE
}
