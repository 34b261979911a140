/* An Edge TPU for tests: a TFLite delegate with the interface of libedgetpu.so.1, computed by the CPU.

   It takes the operator `edgetpu-custom-op` of files that `edgetpu_delegate.forge` made: the
   operator's data is the product, 1 x 1 over [1, T, 1, C] in int8, which it rounds as XNNPACK does.
   The types below are those of tflite/core/c/common.h, as far as they are used here.

   The environment says how it behaves: FAKE_EDGETPU lists faults, of `none` (no device), `wrong`,
   `fail`, `hang`, and crashes when it is loaded (`crash-load`), given a graph (`crash-open`) or run
   (`crash-run`); FAKE_EDGETPU_DEVICES lists the devices, one `usb` if it is not set;
   FAKE_EDGETPU_US is how long a call takes besides, in microseconds; and FAKE_EDGETPU_LOG is a file
   to which what was done is added. */
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { OK = 0, FAILED = 1 } Status;
typedef struct {
  int size;
  int data[];
} IntArray;
typedef struct {
  float scale;
  int32_t zero_point;
} Quantization;
struct Delegate;
typedef struct { /* with what follows `bytes`, for the array of tensors has its size */
  int type;
  void *data;
  IntArray *dims;
  Quantization params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  struct Delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;
typedef struct {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
} Node;
struct Context;
typedef struct { /* whole: it is passed by value */
  void *(*init)(struct Context *, const char *, size_t);
  void (*free)(struct Context *, void *);
  Status (*prepare)(struct Context *, Node *);
  Status (*invoke)(struct Context *, Node *);
  const char *(*profiling_string)(const struct Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
#ifndef TFLITE_2_5 /* which had none of these: Coral's build passes too little to newer runtimes */
  void *registration_external, *async_kernel;
  uint64_t inplace_operator;
#endif
} Registration;
typedef struct Context {
  size_t tensors_size;
  Status (*GetExecutionPlan)(struct Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  Status (*ResizeTensor)(struct Context *, Tensor *, IntArray *);
  void (*ReportError)(struct Context *, const char *, ...);
  Status (*AddTensors)(struct Context *, int, int *);
  Status (*GetNodeAndRegistration)(struct Context *, int, Node **, Registration **);
  Status (*ReplaceNodeSubsetsWithDelegateKernels)(struct Context *, Registration, const IntArray *,
                                                  struct Delegate *);
} Context;
typedef struct Delegate {
  void *data;
  Status (*Prepare)(Context *, struct Delegate *);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
} Delegate;
typedef struct {
  Delegate *delegate;
  IntArray *nodes_to_replace;
} DelegateParams;

/* The data of a forged operator: this, then scales [K], biases [K], and weights [K, C]. */
typedef struct {
  char magic[8];
  int32_t rows, inputs, outputs, input_zero, output_zero;
  float input_scale, output_scale;
} Head;

typedef struct { /* the same, aligned */
  Head head;
  float *scales; /* [K], of an output's sum in its codes */
  int32_t *biases;
  int16_t *weights; /* for products of two that a processor adds in pairs */
} Product;

static bool is_set(const char *name, const char *word) {
  const char *list = getenv(name);
  size_t size = strlen(word);
  for (; list && *list; list += strcspn(list, ","), list += *list == ',')
    if (!strncmp(list, word, size) && (list[size] == ',' || !list[size])) return true;
  return false;
}

static bool has_fault(const char *word) { return is_set("FAKE_EDGETPU", word); }

static void note(const char *what, const char *detail) {
  const char *path = getenv("FAKE_EDGETPU_LOG");
  FILE *file = path ? fopen(path, "a") : NULL;
  if (!file) return;
  fprintf(file, "%s %s\n", what, detail);
  fclose(file);
}

static void crash_if(const char *fault) {
  if (has_fault(fault)) raise(SIGSEGV);
}

static void *init(Context *context, const char *buffer, size_t length) {
  const DelegateParams *params = (const DelegateParams *)buffer;
  Node *node;
  Registration *replaced;
  Head head;
  if (context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &node, &replaced))
    return NULL;
  const char *data = node->custom_initial_data;
  size_t size = node->custom_initial_data_size;
  if (size < sizeof head || memcmp(data, "FORGED 1", 8)) return NULL;
  memcpy(&head, data, sizeof head);
  size_t outputs = head.outputs, weights = outputs * head.inputs;
  if (size != sizeof head + 8 * outputs + weights) return NULL;
  Product *made = malloc(sizeof *made);
  *made = (Product){head, malloc(4 * outputs), malloc(4 * outputs), malloc(2 * weights)};
  data += sizeof head;
  memcpy(made->scales, data, 4 * outputs);
  memcpy(made->biases, data + 4 * outputs, 4 * outputs);
  for (size_t i = 0; i < outputs; i++)
    made->scales[i] = head.input_scale * made->scales[i] / head.output_scale;
  for (size_t i = 0; i < weights; i++) made->weights[i] = (int8_t)data[8 * outputs + i];
  return made;
}

static void release(Context *context, void *data) {
  Product *product = data;
  if (!product) return;
  free(product->scales);
  free(product->biases);
  free(product->weights);
  free(product);
}

static Status prepare(Context *context, Node *node) {
  if (!node->user_data) {
    context->ReportError(context, "the executable of edgetpu-custom-op cannot be read");
    return FAILED;
  }
  const Product *product = node->user_data;
  size_t given = context->tensors[node->inputs->data[0]].bytes;
  if (given != (size_t)product->head.rows * product->head.inputs) {
    context->ReportError(context, "edgetpu-custom-op was given %d bytes", (int)given);
    return FAILED;
  }
  return OK;
}

static int8_t round_sum(int32_t sum, float scale, int32_t zero_point) {
  float scaled = fminf((float)sum * scale, (float)(127 - zero_point));
  long rounded = lrintf(scaled) + zero_point; /* halves to even */
  return rounded < -128 ? -128 : rounded;
}

static void multiply(const Product *product, const int8_t *given, int8_t *made) {
  int inputs = product->head.inputs, outputs = product->head.outputs;
  int16_t row[inputs];
  for (int left = product->head.rows; left--; given += inputs) {
    for (int i = 0; i < inputs; i++) row[i] = given[i] - product->head.input_zero;
    for (int output = 0; output < outputs; output++) {
      const int16_t *weight = product->weights + (size_t)output * inputs;
      int32_t sum = product->biases[output];
      for (int i = 0; i < inputs; i++) sum += row[i] * weight[i];
      *made++ = round_sum(sum, product->scales[output], product->head.output_zero);
    }
  }
}

static Status invoke(Context *context, Node *node) {
  const char *microseconds = getenv("FAKE_EDGETPU_US");
  const Product *product = node->user_data;
  crash_if("crash-run");
  if (has_fault("hang")) sleep(3600);
  if (has_fault("fail")) {
    context->ReportError(context, "the device was unplugged");
    return FAILED;
  }
  if (microseconds) usleep(atoi(microseconds));
  int8_t *made = context->tensors[node->outputs->data[0]].data;
  multiply(product, context->tensors[node->inputs->data[0]].data, made);
  if (has_fault("wrong")) /* the channels in reverse */
    for (int row = 0, size = product->head.outputs; row < product->head.rows; row++, made += size)
      for (int i = 0; i < size / 2; i++) {
        int8_t one = made[i];
        made[i] = made[size - 1 - i];
        made[size - 1 - i] = one;
      }
  note("invoke", "");
  return OK;
}

static Status take(Context *context, Delegate *delegate) {
  IntArray *plan;
  crash_if("crash-open");
  if (context->GetExecutionPlan(context, &plan)) return FAILED;
  int size = plan->size, taken[size];
  for (int i = 0; i < size; i++) {
    Node *node;
    Registration *found;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &found)) return FAILED;
    bool ours = found->custom_name && !strcmp(found->custom_name, "edgetpu-custom-op");
    taken[i] = ours ? plan->data[i] : -1;
  }
  for (int i = 0; i < size; i++) {
    if (taken[i] < 0) continue;
    Registration kernel = {.init = init, .free = release, .prepare = prepare, .invoke = invoke};
    kernel.custom_name = "EdgeTpuDelegateForCustomOp";
    kernel.version = 1;
    int nodes[2] = {1, taken[i]};
    if (context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, (IntArray *)nodes, delegate))
      return FAILED;
    note("take", "edgetpu-custom-op");
  }
  return OK;
}

/* Return whether there is a device: "", "usb", "pci", ":N", "usb:N" and "pci:N", as libedgetpu. */
static bool has_device(const char *wanted) {
  const char *devices = getenv("FAKE_EDGETPU_DEVICES");
  size_t type = strcspn(wanted, ":");
  char *end = "";
  long number = wanted[type] ? strtol(wanted + type + 1, &end, 10) : 0;
  if (*end || number < 0 || (wanted[type] && !wanted[type + 1]) || has_fault("none")) return false;
  for (devices = devices ? devices : "usb"; *devices;) {
    size_t size = strcspn(devices, ",");
    bool same = !type || (type == size && !strncmp(devices, wanted, size));
    if (same && !number--) return true;
    devices += size + (devices[size] == ',');
  }
  return false;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                        void (*report)(const char *)) {
  const char *device = "";
  crash_if("crash-load");
  for (size_t i = 0; i < count; i++) {
    note(keys[i], values[i]);
    if (!strcmp(keys[i], "device")) device = values[i];
  }
  if (!has_device(device)) return NULL; /* without a message, as libedgetpu */
  Delegate *made = calloc(1, sizeof *made);
  made->Prepare = take;
  made->flags = 1; /* as libedgetpu: it bears dynamic tensors */
  return made;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
