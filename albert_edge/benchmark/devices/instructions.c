/* A plugin of qemu 7.2 that counts the instructions of a program: `-plugin LIBRARY,counts=FILE`.

   At each marker of the program, a call of `prctl` with an option that no kernel knows, it appends
   the number of instructions so far to the file.  The numbers are exact for a program of one thread.
   Debian has no header for plugins; the declarations follow include/qemu/qemu-plugin.h. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define PRCTL 167 /* of arm64 */
#define MARKER 0x616c6265

typedef uint64_t Id;
typedef struct Block Block;
enum { ADD };

void qemu_plugin_register_vcpu_tb_trans_cb(Id id, void (*translated)(Id, Block *));
size_t qemu_plugin_tb_n_insns(const Block *block);
void qemu_plugin_register_vcpu_tb_exec_inline(Block *block, int operation, void *at, uint64_t by);
void qemu_plugin_register_vcpu_syscall_cb(
    Id id, void (*called)(Id, unsigned processor, int64_t number, uint64_t, uint64_t, uint64_t,
                          uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

EXPORTED int qemu_plugin_version = 1;

static uint64_t instructions;
static FILE *counts;

/* A block runs from its start to its end, so it counts as a whole. */
static void count_block(Id id, Block *block) {
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &instructions,
                                           qemu_plugin_tb_n_insns(block));
}

static void write_at_marker(Id id, unsigned processor, int64_t number, uint64_t option, uint64_t b,
                            uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g,
                            uint64_t h) {
  if (number != PRCTL || option != MARKER) return;
  fprintf(counts, "%" PRIu64 "\n", instructions);
  fflush(counts);
}

EXPORTED int qemu_plugin_install(Id id, const void *info, int count, char **words) {
  if (count != 1 || strncmp(words[0], "counts=", 7) || !(counts = fopen(words[0] + 7, "w"))) {
    fputs("counts=FILE is missing or cannot be written\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
  qemu_plugin_register_vcpu_syscall_cb(id, write_at_marker);
  return 0;
}
