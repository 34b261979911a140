/* An OpenCL that says it is a GPU of another maker, in front of the OpenCL that computes.

   Loaded as `libOpenCL.so`, under which name Android's GPU delegate opens it. All that is not here is
   found in `libOpenCL.so.1`, which it is linked with. RIGS_OPENCL_NAME is the name of the device. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CL/cl.h */
#define CL_SUCCESS 0
#define CL_INVALID_VALUE -30
#define CL_DEVICE_TYPE_ALL 0xFFFFFFFFul
#define CL_DEVICE_TYPE 0x1000
#define CL_DEVICE_TYPE_GPU 4ul
#define CL_DEVICE_NAME 0x102B
#define CL_DEVICE_VENDOR 0x102C
#define CL_DEVICE_VERSION 0x102F
#define CL_DEVICE_EXTENSIONS 0x1030
#define CL_MEM_CONTEXT 0x1106
#define CL_PROGRAM_SOURCE 0x1164
#define CL_DEVICE_IMAGE_PITCH_ALIGNMENT 0x104A

static void *real(const char *name) {
  static void *library;
  if (!library) library = dlopen("libOpenCL.so.1", RTLD_NOW);
  return library ? dlsym(library, name) : NULL;
}

int clGetDeviceIDs(void *platform, uint64_t type, uint32_t count, void *devices, void *found) {
  int (*call)(void *, uint64_t, uint32_t, void *, void *) = real("clGetDeviceIDs");
  return call(platform, CL_DEVICE_TYPE_ALL, count, devices, found);
}

static int text(const char *value, size_t size, void *out, size_t *needed) {
  size_t length = strlen(value) + 1;
  if (needed) *needed = length;
  if (!out) return CL_SUCCESS;
  if (size < length) return CL_INVALID_VALUE;
  memcpy(out, value, length);
  return CL_SUCCESS;
}

int clGetDeviceInfo(void *device, uint32_t what, size_t size, void *out, size_t *needed) {
  int (*call)(void *, uint32_t, size_t, void *, size_t *) = real("clGetDeviceInfo");
  const char *name = getenv("RIGS_OPENCL_NAME");
  if (name && (what == CL_DEVICE_NAME || what == CL_DEVICE_VENDOR)) return text(name, size, out, needed);
  int status = call(device, what, size, out, needed);
  if (status != CL_SUCCESS || !out) return status;
  if (what == CL_DEVICE_TYPE) *(uint64_t *)out = CL_DEVICE_TYPE_GPU;
  /* pocl lists images made of buffers, but does not make them. */
  char *listed = what == CL_DEVICE_EXTENSIONS ? strstr(out, "cl_khr_image2d_from_buffer") : NULL;
  if (listed) memcpy(listed, "cl_xxx", 6);
  if (what == CL_DEVICE_IMAGE_PITCH_ALIGNMENT) *(uint32_t *)out = 0;
  return status;
}

/* pocl makes no image of a part of a buffer, as AMD's kernels want it. The delegate only saves memory by
   such parts, so each may be a buffer of its own: with RIGS_OPENCL_WHOLE_BUFFERS. */
void *clCreateSubBuffer(void *parent, uint64_t flags, uint32_t kind, const void *region, int *error) {
  if (!getenv("RIGS_OPENCL_WHOLE_BUFFERS")) {
    void *(*call)(void *, uint64_t, uint32_t, const void *, int *) = real("clCreateSubBuffer");
    return call(parent, flags, kind, region, error);
  }
  int (*about)(void *, uint32_t, size_t, void *, size_t *) = real("clGetMemObjectInfo");
  void *(*create)(void *, uint64_t, size_t, void *, int *) = real("clCreateBuffer");
  void *context = NULL;
  about(parent, CL_MEM_CONTEXT, sizeof context, &context, NULL);
  return create(context, flags, ((const size_t *)region)[1], NULL, error); /* origin, size */
}

/* Counted, so that a test can tell that kernels ran, and which. */
static unsigned launched;
static uint64_t digest = 14695981039346656037u; /* FNV-1a of all sources */

int clEnqueueNDRangeKernel(void *queue, void *kernel, uint32_t dims, void *offset, void *global,
                           void *local, uint32_t waits, void *events, void *event) {
  int (*call)(void *, void *, uint32_t, void *, void *, void *, uint32_t, void *, void *) =
      real("clEnqueueNDRangeKernel");
  launched++;
  return call(queue, kernel, dims, offset, global, local, waits, events, event);
}

void *clCreateProgramWithSource(void *context, uint32_t count, const char **sources,
                                const size_t *lengths, int *error) {
  void *(*call)(void *, uint32_t, const char **, const size_t *, int *) =
      real("clCreateProgramWithSource");
  for (uint32_t i = 0; i < count; i++) {
    size_t length = lengths && lengths[i] ? lengths[i] : strlen(sources[i]);
    for (size_t k = 0; k < length; k++) digest = (digest ^ (uint8_t)sources[i][k]) * 1099511628211u;
  }
  return call(context, count, sources, lengths, error);
}

/* pocl 3.1 optimizes away the return of threads behind the last row, after a barrier: they write over
   other rows. Without optimization it does not. */
int clBuildProgram(void *program, uint32_t count, const void *devices, const char *options,
                   void *notify, void *data) {
  int (*call)(void *, uint32_t, const void *, const char *, void *, void *) = real("clBuildProgram");
  int (*about)(void *, uint32_t, size_t, void *, size_t *) = real("clGetProgramInfo");
  size_t size = 0;
  about(program, CL_PROGRAM_SOURCE, 0, NULL, &size);
  char *source = calloc(size + 1, 1), all[1024];
  about(program, CL_PROGRAM_SOURCE, size, source, NULL);
  const char *more = strstr(source, "LOCAL_MEM_BARRIER;") ? " -cl-opt-disable" : "";
  free(source);
  snprintf(all, sizeof all, "%s%s", options ? options : "", more);
  return call(program, count, devices, all, notify, data);
}

unsigned rigs_launched(void) { return launched; }
uint64_t rigs_sources(void) { return digest; }
