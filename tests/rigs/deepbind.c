/* Preloaded into a JVM, so that Android's libraries find Android's C library, by our shim, before
   glibc's functions of the same names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

void *dlopen(const char *name, int flags) {
  static void *(*next)(const char *, int);
  if (!next) next = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
  if (name && strstr(name, "/libtensorflowlite")) flags |= RTLD_DEEPBIND;
  return next(name, flags);
}
