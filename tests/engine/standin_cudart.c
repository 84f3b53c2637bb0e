/* The calls of edgexai/engine/cuda.py on ordinary memory, for machines without a GPU: libcudart and libcuda in one.
   Strict where the real ones are: nothing that was started on a stream happens before the stream is synchronised, a copy
   must lie inside one allocation, and what was not handed out cannot be freed, recorded or waited for. Compiled with
   -include cuda_runtime_api.h where that header is, so that the compiler holds these signatures against NVIDIA's. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __CUDA_RUNTIME_API_H__
typedef int cudaError_t;
typedef void *cudaStream_t;
typedef void *cudaEvent_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrComputeCapabilityMajor = 75,
                      cudaDevAttrComputeCapabilityMinor = 76 };
#endif

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_READY = 600, MANY = 256 };
struct block { char *start; size_t size; };
struct event { int used, recorded; double ms; };
struct work { int kind; void *to; const void *from; size_t size; struct event *event; void (*call)(void); };
static struct block blocks[MANY];
static struct event events[MANY];
static struct work queue[MANY];
static int queued, streams;
static struct timespec pause_of_a_copy = {0, 0};

void standin_copy_ms(int ms) { pause_of_a_copy.tv_nsec = 1000000L * ms; }

int standin_live(void) {
  int n = streams;
  for (int i = 0; i < MANY; i++) n += (blocks[i].start != NULL) + events[i].used;
  return n;
}

static int inside(const void *address, size_t size) {
  for (int i = 0; i < MANY; i++) {
    const char *a = address;
    if (blocks[i].start && a >= blocks[i].start && a + size <= blocks[i].start + blocks[i].size) return 1;
  }
  return 0;
}

int standin_inside(const void *address, size_t size) { return inside(address, size); }

static int on_stream(void *stream) { return streams == 1 && stream == (void *)&streams; }

static cudaError_t later(struct work work, void *stream) {
  if (!on_stream(stream) || queued == MANY) return INVALID;
  queue[queued++] = work;
  return OK;
}

int standin_later(void (*call)(void), void *stream) {
  struct work w = {3, NULL, NULL, 0, NULL, call};
  return later(w, stream);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

cudaError_t cudaGetDeviceCount(int *count) { *count = getenv("STANDIN_NO_DEVICE") ? 0 : 1; return OK; }
cudaError_t cudaRuntimeGetVersion(int *version) { *version = 12060; return OK; }
cudaError_t cudaDriverGetVersion(int *version) { *version = 13020; return OK; }
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
  if (device != 0) return INVALID;
  switch ((int)attribute) {
    case 16: *value = 8; return OK;
    case 75: *value = 8; return OK;
    case 76: *value = 7; return OK;
    default: return INVALID;
  }
}

cudaError_t cudaMalloc(void **address, size_t size) {
  if (size > ((size_t)1 << 40)) return NO_MEMORY;
  for (int i = 0; i < MANY; i++)
    if (!blocks[i].start) {
      blocks[i].start = malloc(size);
      memset(blocks[i].start, 0xFF, size); /* not a number, until something is written */
      blocks[i].size = size;
      *address = blocks[i].start;
      return OK;
    }
  return NO_MEMORY;
}

cudaError_t cudaFree(void *address) {
  for (int i = 0; i < MANY; i++)
    if (blocks[i].start == address) {
      free(blocks[i].start);
      blocks[i].start = NULL;
      return OK;
    }
  return INVALID;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream) {
  if ((int)kind != 1 && (int)kind != 2) return INVALID;
  if (!inside(kind == 1 ? to : from, size)) return INVALID;
  struct work w = {1, to, from, size, NULL, NULL};
  return later(w, stream);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  if (streams) return NO_MEMORY;
  streams = 1;
  *stream = (cudaStream_t)(void *)&streams;
  return OK;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!on_stream(stream)) return INVALID;
  streams = 0;
  return OK;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (!on_stream(stream)) return INVALID;
  for (int i = 0; i < queued; i++) {
    struct work *w = &queue[i];
    if (w->kind == 1) {
      nanosleep(&pause_of_a_copy, NULL);
      memcpy(w->to, w->from, w->size);
    } else if (w->kind == 2) {
      w->event->ms = now_ms();
      w->event->recorded = 1;
    } else {
      w->call();
    }
  }
  queued = 0;
  return OK;
}

static struct event *known(void *event) {
  for (int i = 0; i < MANY; i++)
    if ((void *)&events[i] == event && events[i].used) return &events[i];
  return NULL;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  for (int i = 0; i < MANY; i++)
    if (!events[i].used) {
      struct event fresh = {1, 0, 0.0};
      events[i] = fresh;
      *event = (cudaEvent_t)(void *)&events[i];
      return OK;
    }
  return NO_MEMORY;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  struct event *e = known(event);
  if (!e) return INVALID;
  e->used = 0;
  return OK;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  struct event *e = known(event);
  if (!e) return INVALID;
  struct work w = {2, NULL, NULL, 0, e, NULL};
  return later(w, stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  struct event *e = known(event);
  if (!e) return INVALID;
  return e->recorded ? OK : NOT_READY;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
  struct event *a = known(start), *b = known(end);
  if (!a || !b) return INVALID;
  if (!a->recorded || !b->recorded) return NOT_READY;
  *ms = (float)(b->ms - a->ms);
  return OK;
}

const char *cudaGetErrorName(cudaError_t error) {
  return (int)error == NO_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorInvalidValue";
}
const char *cudaGetErrorString(cudaError_t error) { return (int)error == NO_MEMORY ? "out of memory" : "invalid argument"; }

int cuInit(unsigned int flags) { return flags == 0 ? (getenv("STANDIN_CUINIT") ? atoi(getenv("STANDIN_CUINIT")) : 0) : 1; }
int cuDeviceGetName(char *name, int length, int device) {
  if (device != 0 || length < 16) return 1;
  strcpy(name, "Stand-in Orin");
  return 0;
}
