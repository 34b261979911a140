/* Android's C library for glibc on arm64: the shim of x86-64, and what is of arm64 alone. */
#include "android.c"

#include <pthread.h>
#include <time.h>

/* Android's mutex has 40 bytes. glibc's has 48 and uses as many as Android's, but it clears all. */
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
  memset(mutex, 0, 40);
  return 0;
}

/* A clock that goes on by a microsecond a call: what is done once in so many milliseconds must not
   depend on the machine that emulates. */
int clock_gettime(clockid_t clock, struct timespec *now) {
  static long calls;
  *now = (struct timespec){.tv_sec = calls / 1000000, .tv_nsec = calls % 1000000 * 1000};
  calls++;
  return 0;
}
