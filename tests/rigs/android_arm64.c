/* Runs a file in Android's own library for arm64: `android_arm64 LIBRARY MODEL SIGNATURE xnnpack|cpu`,
   or, to try the counting, a loop of two instructions: `android_arm64 TIMES`.

   Standard input holds the number of runs and the inputs of each, and standard output the outputs of
   each, in one form, of little-endian numbers of 32 bits: the number of tensors, and for each the
   length of its name, the name, TfLiteType, the rank, the dimensions, the number of bytes, and these.
   A tensor is resized where its shape differs.  What is refused ends the process with 1 and the
   call's name.

   A marker, which the plugin of qemu reads, stands before and after the loading and each run. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define MARKER 0x616c6265 /* no option of prctl: the kernel refuses it */

/* Android's code keeps the guard of its stack 40 bytes after the thread pointer, where glibc has the
   program's first thread-local variable: a place that nothing else writes. */
__thread char guard[64] __attribute__((aligned(16)));

typedef void *Handle;

/* tensorflow/lite/c/c_api.h, and of delegates/xnnpack/xnnpack_delegate.h the first. */
#define FUNCTIONS(F) \
  F(Handle, TfLiteXNNPackDelegateCreate, const void *options) \
  F(Handle, TfLiteModelCreateFromFile, const char *path) \
  F(Handle, TfLiteInterpreterOptionsCreate, void) \
  F(void, TfLiteInterpreterOptionsSetNumThreads, Handle options, int32_t threads) \
  F(void, TfLiteInterpreterOptionsAddDelegate, Handle options, Handle delegate) \
  F(Handle, TfLiteInterpreterCreate, Handle model, Handle options) \
  F(Handle, TfLiteInterpreterGetSignatureRunner, Handle interpreter, const char *key) \
  F(Handle, TfLiteSignatureRunnerGetInputTensor, Handle runner, const char *name) \
  F(int, TfLiteSignatureRunnerResizeInputTensor, Handle runner, const char *name, \
    const int32_t *dimensions, int32_t rank) \
  F(int, TfLiteSignatureRunnerAllocateTensors, Handle runner) \
  F(int, TfLiteSignatureRunnerInvoke, Handle runner) \
  F(size_t, TfLiteSignatureRunnerGetOutputCount, Handle runner) \
  F(const char *, TfLiteSignatureRunnerGetOutputName, Handle runner, int32_t index) \
  F(Handle, TfLiteSignatureRunnerGetOutputTensor, Handle runner, const char *name) \
  F(int, TfLiteTensorType, Handle tensor) \
  F(int32_t, TfLiteTensorNumDims, Handle tensor) \
  F(int32_t, TfLiteTensorDim, Handle tensor, int32_t axis) \
  F(size_t, TfLiteTensorByteSize, Handle tensor) \
  F(int, TfLiteTensorCopyFromBuffer, Handle tensor, const void *data, size_t size) \
  F(int, TfLiteTensorCopyToBuffer, Handle tensor, void *data, size_t size)

#define DECLARE(result, name, ...) static result (*name)(__VA_ARGS__);
#define BIND(result, name, ...) name = not_null(#name, dlsym(library, #name));
FUNCTIONS(DECLARE)

typedef struct {
  char *name;
  int32_t type, rank, *shape, size;
  void *data;
} Tensor;

typedef struct {
  int32_t count;
  Tensor *tensors;
} Tensors;

/* _Exit and not exit: what the library does at its end is not tried here. */
static void refuse(const char *call, const char *of) {
  fprintf(stderr, "%s failed: %s\n", call, of);
  _Exit(1);
}

static void *not_null(const char *call, void *made) {
  if (!made) refuse(call, "it returned nothing");
  return made;
}

static void check(const char *call, const char *of, int status) {
  if (status) refuse(call, of);
}

static void mark(void) { prctl(MARKER, 0, 0, 0, 0); }

static int read_all(void *data, size_t size) { return fread(data, 1, size, stdin) == size; }

static int32_t read_number(void) {
  int32_t number;
  if (!read_all(&number, sizeof number) || number < 0) refuse("reading", "standard input is cut");
  return number;
}

static void *read_bytes(int32_t size) {
  void *data = not_null("calloc", calloc(1, size + 1));
  if (!read_all(data, size)) refuse("reading", "standard input is cut");
  return data;
}

static void read_run(Tensors *run) {
  run->count = read_number();
  run->tensors = not_null("calloc", calloc(run->count, sizeof(Tensor)));
  for (Tensor *tensor = run->tensors; tensor < run->tensors + run->count; tensor++) {
    tensor->name = read_bytes(read_number());
    tensor->type = read_number();
    tensor->rank = read_number();
    tensor->shape = read_bytes(tensor->rank * sizeof(int32_t));
    tensor->size = read_number();
    tensor->data = read_bytes(tensor->size);
  }
}

static void write_bytes(const void *data, size_t size) {
  if (fwrite(data, 1, size, stdout) != size) refuse("writing", "standard output is closed");
}

static void write_run(const Tensors *run) {
  write_bytes(&run->count, sizeof run->count);
  for (const Tensor *tensor = run->tensors; tensor < run->tensors + run->count; tensor++) {
    int32_t length = strlen(tensor->name);
    write_bytes(&length, sizeof length);
    write_bytes(tensor->name, length);
    write_bytes(&tensor->type, sizeof tensor->type);
    write_bytes(&tensor->rank, sizeof tensor->rank);
    write_bytes(tensor->shape, tensor->rank * sizeof(int32_t));
    write_bytes(&tensor->size, sizeof tensor->size);
    write_bytes(tensor->data, tensor->size);
  }
  fflush(stdout);
}

static int has_shape(Handle tensor, const Tensor *of) {
  if (TfLiteTensorNumDims(tensor) != of->rank) return 0;
  for (int32_t axis = 0; axis < of->rank; axis++)
    if (TfLiteTensorDim(tensor, axis) != of->shape[axis]) return 0;
  return 1;
}

/* Gives the signature's inputs their shapes; returns whether one changed. */
static int resize(Handle runner, const Tensors *inputs) {
  int changed = 0;
  for (Tensor *input = inputs->tensors; input < inputs->tensors + inputs->count; input++) {
    Handle tensor = TfLiteSignatureRunnerGetInputTensor(runner, input->name);
    if (!tensor) refuse("TfLiteSignatureRunnerGetInputTensor", input->name);
    if (TfLiteTensorType(tensor) != input->type) refuse("comparing the type", input->name);
    if (has_shape(tensor, input)) continue;
    changed = 1;
    check("TfLiteSignatureRunnerResizeInputTensor", input->name,
          TfLiteSignatureRunnerResizeInputTensor(runner, input->name, input->shape, input->rank));
  }
  return changed;
}

static void read_output(Handle runner, int32_t index, Tensor *output) {
  output->name = (char *)TfLiteSignatureRunnerGetOutputName(runner, index);
  Handle tensor = TfLiteSignatureRunnerGetOutputTensor(runner, output->name);
  output->type = TfLiteTensorType(tensor);
  output->rank = TfLiteTensorNumDims(tensor);
  output->shape = calloc(output->rank + 1, sizeof(int32_t));
  for (int32_t axis = 0; axis < output->rank; axis++)
    output->shape[axis] = TfLiteTensorDim(tensor, axis);
  output->size = TfLiteTensorByteSize(tensor);
  output->data = malloc(output->size + 1);
  check("TfLiteTensorCopyToBuffer", output->name,
        TfLiteTensorCopyToBuffer(tensor, output->data, output->size));
}

/* Runs the signature: what the markers stand around. */
static void run(Handle runner, const Tensors *inputs, Tensors *outputs, int first) {
  if (resize(runner, inputs) || first)
    check("TfLiteSignatureRunnerAllocateTensors", "it refuses the file or the shapes",
          TfLiteSignatureRunnerAllocateTensors(runner));
  for (Tensor *input = inputs->tensors; input < inputs->tensors + inputs->count; input++) {
    Handle tensor = TfLiteSignatureRunnerGetInputTensor(runner, input->name);
    check("TfLiteTensorCopyFromBuffer", input->name,
          TfLiteTensorCopyFromBuffer(tensor, input->data, input->size));
  }
  check("TfLiteSignatureRunnerInvoke", "it does not run", TfLiteSignatureRunnerInvoke(runner));
  for (int32_t index = 0; index < outputs->count; index++)
    read_output(runner, index, outputs->tensors + index);
}

static Handle load(const char *model, const char *signature, int xnnpack) {
  Handle options = TfLiteInterpreterOptionsCreate();
  TfLiteInterpreterOptionsSetNumThreads(options, 1);
  if (xnnpack)
    TfLiteInterpreterOptionsAddDelegate(
        options, not_null("TfLiteXNNPackDelegateCreate", TfLiteXNNPackDelegateCreate(NULL)));
  Handle opened = not_null("TfLiteModelCreateFromFile", TfLiteModelCreateFromFile(model));
  Handle interpreter = not_null("TfLiteInterpreterCreate", TfLiteInterpreterCreate(opened, options));
  return not_null("TfLiteInterpreterGetSignatureRunner",
                  TfLiteInterpreterGetSignatureRunner(interpreter, signature));
}

static void loop(long times) {
  mark();
  __asm__ volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(times) : : "cc");
  mark();
}

int main(int count, char **words) {
  if (count == 2) {
    loop(atol(words[1]));
    _Exit(0);
  }
  if (count != 5 || guard[0]) refuse("main", "LIBRARY MODEL SIGNATURE xnnpack|cpu");
  /* RTLD_DEEPBIND: the library must find Android's C library, by our shim, before glibc. */
  void *library = dlopen(words[1], RTLD_NOW | RTLD_DEEPBIND);
  if (!library) refuse("dlopen", dlerror());
  FUNCTIONS(BIND)
  int32_t runs = read_number();
  Tensors *inputs = not_null("calloc", calloc(runs + 1, sizeof(Tensors)));
  for (int32_t index = 0; index < runs; index++) read_run(inputs + index);
  mark();
  Handle runner = load(words[2], words[3], !strcmp(words[4], "xnnpack"));
  mark();
  Tensors outputs = {.count = TfLiteSignatureRunnerGetOutputCount(runner)};
  outputs.tensors = not_null("calloc", calloc(outputs.count, sizeof(Tensor)));
  for (int32_t index = 0; index < runs; index++) {
    mark();
    run(runner, inputs + index, &outputs, index == 0);
    mark();
    write_run(&outputs);
  }
  _Exit(0);
}
