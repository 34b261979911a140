/* Loads Android's libraries into a JVM before any class: `java -agentpath:jvm_agent.so=A.so:B.so:...`.

   The JVM loads libraries so that they find glibc's functions before those of Android's C library, which
   they need; what is loaded already it only looks up. Those before an empty entry are loaded for all
   to find, those behind it for themselves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int Agent_OnLoad(void *machine, char *options, void *reserved) {
  int mode = RTLD_NOW | RTLD_GLOBAL;
  for (char *name; (name = strsep(&options, ":"));) {
    if (!*name) {
      mode = RTLD_NOW | RTLD_DEEPBIND;
    } else if (!dlopen(name, mode)) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
  }
  return 0;
}
