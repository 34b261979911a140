/* Android's C library for glibc: what a library of an AAR needs to be loaded on desktop Linux.

   The functions that glibc lacks, and those whose meaning differs: Android's stdin, stdout and stderr
   are three elements of an array, and its numbers for sysconf are its own. Loaded as `libc.so`. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE 152 /* of Android's FILE, 64 bits */
char __sF[3 * FILE_SIZE];

static FILE *stream(void *file) {
  char *place = file;
  if (place < __sF || place >= __sF + sizeof __sF) return file;
  FILE *standard[] = {stdin, stdout, stderr};
  return standard[(place - __sF) / FILE_SIZE];
}

int vfprintf(FILE *file, const char *format, va_list values) {
  char text[4096];
  int size = vsnprintf(text, sizeof text, format, values);
  fputs_unlocked(text, stream(file));
  return size;
}

int fprintf(FILE *file, const char *format, ...) {
  va_list values;
  va_start(values, format);
  int size = vfprintf(file, format, values);
  va_end(values);
  return size;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  return fwrite_unlocked(data, size, count, stream(file));
}
int fputc(int character, FILE *file) { return fputc_unlocked(character, stream(file)); }
int fflush(FILE *file) { return fflush_unlocked(file ? stream(file) : NULL); }
int fileno(FILE *file) { return fileno_unlocked(stream(file)); }

/* The numbers are of bionic/libc/include/bits/sysconf.h; glibc calls its own function this too. */
long __sysconf(int name);
long sysconf(int name) {
  switch (name) {
    case 0x27: /* _SC_PAGESIZE */
    case 0x28: /* _SC_PAGE_SIZE */
      return __sysconf(_SC_PAGESIZE);
    case 0x60: return __sysconf(_SC_NPROCESSORS_CONF);
    case 0x61: return __sysconf(_SC_NPROCESSORS_ONLN);
    case 0x62: return __sysconf(_SC_PHYS_PAGES);
    default:
      errno = EINVAL;
      return -1;
  }
}

/* XNNPACK's kernels for AVX-512, which no phone has, read their parameters aligned to 64 bytes, out of
   memory for which the library asks less. */
#define ALIGNMENT 64
void *memalign(size_t alignment, size_t size) {
  return aligned_alloc(alignment > ALIGNMENT ? alignment : ALIGNMENT, size);
}
int posix_memalign(void **made, size_t alignment, size_t size) {
  *made = memalign(alignment, size);
  return *made ? 0 : ENOMEM;
}
void *malloc(size_t size) { return memalign(ALIGNMENT, size); }
void *calloc(size_t count, size_t size) {
  size_t whole;
  void *made = __builtin_mul_overflow(count, size, &whole) ? NULL : malloc(whole);
  return made ? memset(made, 0, whole) : NULL;
}
void *realloc(void *old, size_t size) {
  void *made = malloc(size);
  if (!made || !old) return made;
  size_t before = malloc_usable_size(old);
  memcpy(made, old, before < size ? before : size);
  free(old);
  return made;
}

int *__errno(void) { return __errno_location(); }
size_t __strlen_chk(const char *text, size_t size) { return strlen(text); }

/* Java's Interpreter looks for XNNPACK, which it then uses by default, after Android 4.4 only. */
int __system_property_get(const char *name, char *value) {
  strcpy(value, strcmp(name, "ro.build.version.sdk") ? "" : "35");
  return strlen(value);
}
void android_set_abort_message(const char *message) { fputs(message, stderr); }

/* What TensorFlow Lite logs here, it also prints on stderr. */
int __android_log_vprint(int priority, const char *tag, const char *format, va_list values) {
  return 0;
}
