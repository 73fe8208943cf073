// A CUDA runtime, driver and cuBLAS for a machine without a GPU, to be loaded before PyTorch's own
// with LD_PRELOAD. Memory is the host's, copies copy, kernels are counted and do nothing. Streams
// know whether they are being recorded, and what a driver refuses while recording is refused here,
// with its error codes. PyTorch's host code runs on it: allocator, streams, events, CUDA graphs,
// pinned memory, fused optimizers, Inductor, Triton and ptxas. pact_nb.stand_in says how to use it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <driver_types.h>
#include <vector_types.h>

#define API __attribute__((visibility("default")))
#define OK(name)   \
  API int name() { \
    return 0;      \
  }
#define GIVES(name, type, value) \
  API int name(type* out) {      \
    *out = (type)(value);        \
    return 0;                    \
  }
#define CANNOT(name)                      \
  API int name() {                        \
    return failed(cudaErrorNotSupported); \
  }

// ---- what is counted; the order is that of pact_nb.stand_in.COUNTED
enum {
  LAUNCHES,
  RECORDED,
  OUTSIDE,  // launches on another stream while one is recorded
  TO_DEVICE,
  TO_HOST,
  ON_DEVICE,
  WAITS,
  REFUSED,
  REPLAYS,
  N_COUNTERS
};

static long long counted[N_COUNTERS];

API long long* absent_cuda_counted(void) {
  return counted;
}

typedef void (*listener)(int kind, const char* name);

enum { LAUNCH, WAIT, REFUSAL };

static listener told;

API void absent_cuda_listen(listener f) {
  told = f;
}

static void tell(int kind, const char* name) {
  if (told) told(kind, name);
}

static __thread cudaError_t last_error;

static int failed(cudaError_t e) {
  if (e != cudaSuccess && e != cudaErrorNotReady) last_error = e;
  return e;
}

static __thread int device;

static int devices(void) {
  const char* n = getenv("ABSENT_CUDA_DEVICES");
  return n ? atoi(n) : 1;
}

// ---- streams and recording
struct graph {
  long long nodes;
};

struct stream {
  int status;  // a cudaStreamCaptureStatus
  unsigned long long recording;
  struct graph* graph;
  enum cudaStreamCaptureMode mode;
};

struct event {
  struct stream* on;
  unsigned long long recording;
};
static struct stream default_stream, *recorded;
static unsigned long long recordings;
static __thread enum cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

static struct stream* of(cudaStream_t s) {
  return (uintptr_t)s <= 2 ? &default_stream : (struct stream*)s;  // 1 and 2: the legacy handles
}

static int is_recorded(struct stream* s) {
  return s->status == cudaStreamCaptureStatusActive;
}

static int forbidden(void) {  // what waits or allocates, while any stream is recorded globally
  return recorded && thread_mode == cudaStreamCaptureModeGlobal &&
         recorded->mode == cudaStreamCaptureModeGlobal;
}

static int refuse(const char* what) {
  counted[REFUSED]++;
  tell(REFUSAL, what);
  if (recorded) recorded->status = cudaStreamCaptureStatusInvalidated;
  return failed(cudaErrorStreamCaptureUnsupported);
}

static int wait_for(const char* what, int refused) {
  if (refused) return refuse(what);
  counted[WAITS]++;
  tell(WAIT, what);
  return 0;
}

static void launch(const char* name, cudaStream_t on) {
  counted[LAUNCHES]++;
  if (is_recorded(of(on))) {
    counted[RECORDED]++;
    of(on)->graph->nodes++;
  } else if (recorded) {
    counted[OUTSIDE]++;
  }
  tell(LAUNCH, name);
}

GIVES(cudaStreamCreateWithPriority, cudaStream_t, calloc(1, sizeof(struct stream)))
GIVES(cudaStreamCreateWithFlags, cudaStream_t, calloc(1, sizeof(struct stream)))
GIVES(cudaStreamCreate, cudaStream_t, calloc(1, sizeof(struct stream)))

API int cudaStreamGetPriority(cudaStream_t s, int* priority) {
  return *priority = 0;
}

API int cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *greatest = -5;
  return *least = 0;
}

API int cudaStreamSynchronize(cudaStream_t s) {
  return wait_for("cudaStreamSynchronize", is_recorded(of(s)) || forbidden());
}

API int cudaDeviceSynchronize(void) {
  return wait_for("cudaDeviceSynchronize", forbidden());
}

API int cudaStreamQuery(cudaStream_t s) {
  return is_recorded(of(s)) || forbidden() ? refuse("cudaStreamQuery") : 0;
}
OK(cudaStreamDestroy)
OK(cudaStreamAddCallback)
GIVES(cudaEventCreateWithFlags, cudaEvent_t, calloc(1, sizeof(struct event)))
GIVES(cudaEventCreate, cudaEvent_t, calloc(1, sizeof(struct event)))

API int cudaEventDestroy(cudaEvent_t e) {
  free(e);
  return 0;
}

API int cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags) {
  struct event* v = (struct event*)e;
  v->on = of(s);
  v->recording = is_recorded(of(s)) ? of(s)->recording : 0;
  return 0;
}

API int cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  return cudaEventRecordWithFlags(e, s, 0);
}

static int in_recording(cudaEvent_t e) {
  return ((struct event*)e)->recording || forbidden();
}

API int cudaEventQuery(cudaEvent_t e) {
  return in_recording(e) ? refuse("cudaEventQuery") : 0;
}

API int cudaEventSynchronize(cudaEvent_t e) {
  return wait_for("cudaEventSynchronize", in_recording(e));
}

GIVES(cudaEventElapsedTime, float, 1)

API int cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) {
  struct event* v = (struct event*)e;
  struct stream* t = of(s);
  if (v->recording && v->on && is_recorded(v->on) && !is_recorded(t)) {
    struct stream joined = *v->on;  // the other stream is recorded too, into the same graph
    *t = joined;
  } else if (!v->recording && is_recorded(t) && v->on) {
    return refuse("cudaStreamWaitEvent for work before the recording");
  }
  return 0;
}

API int cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  struct stream* t = of(s);
  if (t == &default_stream) return refuse("cudaStreamBeginCapture of the default stream");
  t->status = cudaStreamCaptureStatusActive;
  t->recording = ++recordings;
  t->graph = calloc(1, sizeof(struct graph));
  t->mode = mode;
  recorded = t;
  return 0;
}

API int cudaStreamBeginCaptureToGraph(cudaStream_t s, cudaGraph_t g, const void* nodes,
                                      const void* edges, size_t n,
                                      enum cudaStreamCaptureMode mode) {
  return cudaStreamBeginCapture(s, mode);
}

API int cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  struct stream* t = of(s);
  int spoiled = t->status == cudaStreamCaptureStatusInvalidated;
  *g = spoiled ? NULL : (cudaGraph_t)t->graph;
  t->status = cudaStreamCaptureStatusNone;
  t->graph = NULL;
  recorded = NULL;
  return failed(spoiled ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
}

API int cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus* status) {
  *status = of(s)->status;
  return 0;
}

API int cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus* status,
                                 unsigned long long* id, cudaGraph_t* g, const void** nodes,
                                 const void** edges, size_t* n) {
  *status = of(s)->status;
  if (id) *id = of(s)->recording;
  if (g) *g = (cudaGraph_t)of(s)->graph;
  if (nodes) *nodes = NULL;
  if (edges) *edges = NULL;
  if (n) *n = 0;
  return 0;
}

API int cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode* mode) {
  enum cudaStreamCaptureMode old = thread_mode;
  thread_mode = *mode;
  *mode = old;
  return 0;
}
OK(cudaStreamUpdateCaptureDependencies)

API int cudaGraphInstantiateWithFlags(cudaGraphExec_t* x, cudaGraph_t g, unsigned long long f) {
  *x = (cudaGraphExec_t)g;
  return 0;
}

API int cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) {
  counted[REPLAYS]++;
  return 0;
}

API int cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t* nodes, size_t* n) {
  *n = ((struct graph*)g)->nodes;
  return 0;
}
OK(cudaGraphDestroy)
OK(cudaGraphExecDestroy)
OK(cudaGraphNodeGetDependencies)
OK(cudaGraphRetainUserObject)
CANNOT(cudaGraphAddNode)
CANNOT(cudaGraphConditionalHandleCreate)
GIVES(cudaUserObjectCreate, cudaUserObject_t, NULL)
OK(cudaUserObjectRelease)

API int cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data) {
  launch("host function", s);
  if (!is_recorded(of(s))) f(data);
  return 0;
}

// ---- memory: pages of the host, zero when new
struct range {
  uintptr_t at;
  size_t bytes;
  int pinned;
};
static struct range ranges[1 << 16];
static int n_ranges;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t whole_pages(size_t n) {
  return n ? (n + 4095) & ~(size_t)4095 : 4096;
}

static void remember(void* p, size_t bytes, int pinned) {
  pthread_mutex_lock(&lock);
  if (n_ranges < 1 << 16) ranges[n_ranges++] = (struct range){(uintptr_t)p, bytes, pinned};
  pthread_mutex_unlock(&lock);
}

static struct range* found(const void* p) {
  uintptr_t at = (uintptr_t)p;
  for (struct range* r = ranges + n_ranges - 1; r >= ranges; r--)
    if (r->at && at >= r->at && at < r->at + r->bytes) return r;
  return NULL;
}

static int take(void** p, size_t bytes, int pinned, const char* what) {
  if (forbidden()) return refuse(what);
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  *p = mmap(NULL, whole_pages(bytes), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (*p == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
  remember(*p, bytes, pinned);
  return 0;
}

API int cudaMalloc(void** p, size_t n) {
  return take(p, n, 0, "cudaMalloc");
}

API int cudaMallocAsync(void** p, size_t n, cudaStream_t s) {
  return cudaMalloc(p, n);
}

API int cudaHostAlloc(void** p, size_t n, unsigned f) {
  return take(p, n, 1, "cudaHostAlloc");
}

API int cudaHostRegister(void* p, size_t n, unsigned flags) {
  remember(p, n, 1);
  return 0;
}

API int cudaFree(void* p) {
  if (!p) return 0;
  if (forbidden()) return refuse("cudaFree");
  struct range* r = found(p);
  if (r) munmap((void*)r->at, whole_pages(r->bytes)), r->at = 0;
  return 0;
}

API int cudaFreeAsync(void* p, cudaStream_t s) {
  return cudaFree(p);
}
OK(cudaFreeHost)
OK(cudaHostUnregister)

static int on_device(const void* p) {
  struct range* r = found(p);
  return r && !r->pinned;
}

static int copied(void* to, const void* from, size_t n, int kind, cudaStream_t on) {
  if (kind == cudaMemcpyDefault) kind = on_device(to) + 2 * on_device(from);
  counted[kind == cudaMemcpyHostToDevice   ? TO_DEVICE
          : kind == cudaMemcpyDeviceToHost ? TO_HOST
                                           : ON_DEVICE]++;
  if (is_recorded(of(on))) {
    of(on)->graph->nodes++;
    return 0;
  }
  if (forbidden() && of(on) == &default_stream) return refuse("a copy on the default stream");
  memcpy(to, from, n);
  return 0;
}

API int cudaMemcpy(void* to, const void* from, size_t n, enum cudaMemcpyKind kind) {
  int no = wait_for("cudaMemcpy", forbidden());
  return no ? no : copied(to, from, n, kind, NULL);
}

API int cudaMemcpyAsync(void* to, const void* from, size_t n, enum cudaMemcpyKind kind,
                        cudaStream_t on) {
  return copied(to, from, n, kind, on);
}

API int cudaMemcpyPeerAsync(void* to, int d, const void* from, int s, size_t n, cudaStream_t on) {
  return copied(to, from, n, cudaMemcpyDeviceToDevice, on);
}

API int cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t on) {
  if (is_recorded(of(on))) return of(on)->graph->nodes++, 0;
  memset(p, value, n);
  return 0;
}

API int cudaMemset(void* p, int value, size_t n) {
  return cudaMemsetAsync(p, value, n, NULL);
}

API int cudaMemGetInfo(size_t* left, size_t* total) {
  *left = *total = (size_t)80 << 30;
  return 0;
}

API int cudaPointerGetAttributes(struct cudaPointerAttributes* a, const void* p) {
  struct range* r = found(p);
  memset(a, 0, sizeof *a);
  a->type = !r ? cudaMemoryTypeUnregistered : r->pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
  a->devicePointer = a->hostPointer = (void*)p;
  return 0;
}

API int cudaGetSymbolAddress(void** p, const void* symbol) {
  return take(p, 4096, 0, "a symbol");
}

GIVES(cudaDeviceGetDefaultMemPool, cudaMemPool_t, NULL)

API int cudaMemPoolGetAttribute(cudaMemPool_t pool, int which, uint64_t* v) {
  return *v = 0;
}

API int cudaDeviceGetGraphMemAttribute(int d, int which, uint64_t* v) {
  return *v = 0;
}
OK(cudaMemcpyToSymbol)
OK(cudaMemPoolSetAttribute)
OK(cudaMemPoolSetAccess)
OK(cudaMemPoolTrimTo)
OK(cudaDeviceSetGraphMemAttribute)
CANNOT(cudaIpcGetMemHandle)
CANNOT(cudaIpcOpenMemHandle)
CANNOT(cudaIpcCloseMemHandle)
CANNOT(cudaIpcGetEventHandle)
CANNOT(cudaIpcOpenEventHandle)

// ---- kernels: known by the address of their host function
struct kernel {
  const void* host;
  char name[160];
};
static struct kernel* kernels;
static int n_kernels, sorted = -1;

API void** __cudaRegisterFatBinary(void* binary) {
  static void* handle[4];
  return handle;
}

API void __cudaRegisterFunction(void** h, const char* host, char* dev, const char* name) {
  if (n_kernels % 4096 == 0) kernels = realloc(kernels, (n_kernels + 4096) * sizeof *kernels);
  kernels[n_kernels].host = host;
  snprintf(kernels[n_kernels++].name, sizeof kernels->name, "%s", name);
}
OK(__cudaRegisterFatBinaryEnd)
OK(__cudaUnregisterFatBinary)
OK(__cudaRegisterVar)

static int by_address(const void* a, const void* b) {
  const char *x = ((struct kernel*)a)->host, *y = ((struct kernel*)b)->host;
  return (x > y) - (x < y);
}

static const char* name_of(const void* host) {
  pthread_mutex_lock(&lock);
  if (sorted != n_kernels) qsort(kernels, sorted = n_kernels, sizeof *kernels, by_address);
  struct kernel key = {host, ""};
  struct kernel* k = bsearch(&key, kernels, n_kernels, sizeof key, by_address);
  pthread_mutex_unlock(&lock);
  return k ? k->name : "?";
}

static __thread struct {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} call;

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t s) {
  call.grid = grid, call.block = block, call.shared = shared, call.stream = s;
  return 0;
}

API int __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, cudaStream_t* s) {
  *grid = call.grid, *block = call.block, *shared = call.shared, *s = call.stream;
  return 0;
}

API int __cudaGetKernel(void** k, const void* host) {
  *k = (void*)host;
  return 0;
}

API int cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared,
                         cudaStream_t s) {
  if (!grid.x || !block.x) return failed(cudaErrorInvalidConfiguration);
  launch(name_of(f), s);
  return 0;
}

API int __cudaLaunchKernel(void* f, dim3 grid, dim3 block, void** args, size_t shared,
                           cudaStream_t s) {
  return cudaLaunchKernel(f, grid, block, args, shared, s);
}

API int cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void** args) {
  launch(name_of(f), c->stream);
  return 0;
}

API int cudaFuncGetAttributes(struct cudaFuncAttributes* a, const void* f) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024;
  a->numRegs = 32;
  a->binaryVersion = a->ptxVersion = 90;
  return 0;
}
OK(cudaFuncSetAttribute)
OK(cudaKernelSetAttributeForDevice)

API int cudaLibraryGetKernel(void** k, void* library, const char* name) {
  *k = strdup(name);
  return 0;
}

GIVES(cudaLibraryLoadData, void*, (void*)8)
OK(cudaLibraryUnload)
GIVES(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, int, 2)

// ---- the device: the numbers of an H100
enum { SMS = 132, THREADS = 2048, SHARED = 233472, L2 = 50 << 20 };

static int attribute(int which) {
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      return 1024;
    case cudaDevAttrMaxBlockDimZ:
      return 64;
    case cudaDevAttrMaxGridDimX:
      return 2147483647;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return 49152;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return 65536;
    case cudaDevAttrClockRate:
      return 1980000;
    case cudaDevAttrMultiProcessorCount:
      return SMS;
    case cudaDevAttrMemoryClockRate:
      return 2619000;
    case cudaDevAttrGlobalMemoryBusWidth:
      return 5120;
    case cudaDevAttrL2CacheSize:
      return L2;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return THREADS;
    case cudaDevAttrUnifiedAddressing:
      return 1;
    case cudaDevAttrComputeCapabilityMajor:
      return 9;
    case cudaDevAttrComputeCapabilityMinor:
      return 0;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return SHARED;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return SHARED - 1024;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return 32;
    default:
      return 0;
  }
}

API int cudaDeviceGetAttribute(int* v, int which, int d) {
  *v = attribute(which);
  return 0;
}

API int cudaGetDeviceProperties(struct cudaDeviceProp* p, int d) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "a GPU that is not there");
  p->totalGlobalMem = (size_t)80 << 30;
  p->major = 9;
  p->multiProcessorCount = SMS;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = THREADS;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = SHARED - 1024;
  p->sharedMemPerMultiprocessor = SHARED;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->l2CacheSize = L2;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->textureAlignment = 512;
  p->concurrentKernels = p->unifiedAddressing = 1;
  p->maxBlocksPerMultiProcessor = 32;
  p->asyncEngineCount = 3;
  p->memoryBusWidth = 5120;
  p->pciBusID = d;
  return 0;
}

GIVES(cudaGetDeviceCount, int, devices())
GIVES(cudaGetDevice, int, device)

API int cudaSetDevice(int d) {
  if (d < 0 || d >= devices()) return failed(cudaErrorInvalidDevice);
  device = d;
  return 0;
}

API int cudaDeviceGetPCIBusId(char* s, int n, int d) {
  snprintf(s, n, "0000:%02x:00.0", d);
  return 0;
}

GIVES(cudaDeviceCanAccessPeer, int, 0)
OK(cudaDeviceEnablePeerAccess)
GIVES(cudaDriverGetVersion, int, 13000)
GIVES(cudaRuntimeGetVersion, int, 13000)

API int cudaGetLastError(void) {
  int e = last_error;
  last_error = 0;
  return e;
}

API int cudaPeekAtLastError(void) {
  return last_error;
}

API const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to an error while capturing";
    case cudaErrorNotSupported:
      return "operation not supported";
    default:
      return "an error of the GPU that is not there";
  }
}

API const char* cudaGetErrorName(cudaError_t e) {
  return cudaGetErrorString(e);
}
OK(cudaProfilerStart)
OK(cudaProfilerStop)

static int no_such_function(void) {
  return cudaErrorNotSupported;
}

API int cudaGetDriverEntryPointByVersion(const char* name, void** f, unsigned version,
                                         unsigned long long flags, int* result) {
  *f = dlsym(RTLD_DEFAULT, name);
  if (!*f) *f = (void*)no_such_function;
  if (result) *result = 0;
  return 0;
}

// ---- the driver, for Triton and Inductor
GIVES(cuDriverGetVersion, int, 13000)
GIVES(cuDeviceGetCount, int, devices())

API int cuDeviceGet(int* d, int i) {
  *d = i;
  return 0;
}

API int cuDeviceGetAttribute(int* v, int which, int d) {
  return cudaDeviceGetAttribute(v, which, d);
}

API int cuDevicePrimaryCtxGetState(int d, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}

GIVES(cuDevicePrimaryCtxRetain, void*, 16)
GIVES(cuCtxGetCurrent, void*, 16)
GIVES(cuCtxGetDevice, int, device)
GIVES(cuCtxGetLimit, size_t, 0)

API int cuGetErrorString(int e, const char** s) {
  *s = cudaGetErrorString(e);
  return 0;
}

GIVES(cuModuleLoad, void*, 24)
GIVES(cuModuleLoadData, void*, 24)
GIVES(cuModuleLoadDataEx, void*, 24)

API int cuModuleGetFunction(void** f, void* m, const char* name) {
  *f = strdup(name);
  return 0;
}

API int cuFuncGetAttribute(int* v, int which, void* f) {
  *v = which == 0 ? 1024 : which == 4 ? 32 : 0;
  return 0;
}

API int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                       unsigned bz, unsigned shared, cudaStream_t s, void** args, void** extra) {
  launch(f, s);
  return 0;
}

API int cuLaunchCooperativeKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                  unsigned by, unsigned bz, unsigned shared, cudaStream_t s,
                                  void** args) {
  launch(f, s);
  return 0;
}

struct driver_launch {
  unsigned grid[3], block[3], shared;
  cudaStream_t stream;
};

API int cuLaunchKernelEx(const struct driver_launch* c, void* f, void** args, void** extra) {
  launch(f, c->stream);
  return 0;
}

GIVES(cuOccupancyMaxActiveBlocksPerMultiprocessor, int, 2)
GIVES(cuOccupancyMaxActiveClusters, int, 16)

API int cuPointerGetAttribute(void* v, int which, uint64_t p) {
  if (which == 3)
    *(uint64_t*)v = p;  // CU_POINTER_ATTRIBUTE_DEVICE_POINTER
  else
    *(int*)v = 2;  // CU_MEMORYTYPE_DEVICE
  return 0;
}
OK(cuInit)
OK(cuCtxSetCurrent)
OK(cuCtxPushCurrent)
OK(cuCtxPopCurrent)
OK(cuCtxSetLimit)
OK(cuModuleUnload)
OK(cuFuncSetAttribute)
OK(cuFuncSetCacheConfig)
OK(cuPointerGetAttributes)
OK(cuTensorMapEncodeTiled)
OK(cuTensorMapEncodeIm2col)
OK(cuLinkAddData_v2)
OK(cuLinkComplete)
OK(cuLinkCreate_v2)

// ---- cuBLAS: a product is one launch on its handle's stream
struct blas {
  cudaStream_t stream;
  int math, pointers;
};

#define PRODUCT(name)            \
  API int name(struct blas* h) { \
    launch(#name, h->stream);    \
    return 0;                    \
  }

API int cublasCreate_v2(struct blas** h) {
  if (forbidden()) return refuse("cublasCreate");
  *h = calloc(1, sizeof **h);
  return 0;
}

API int cublasSetStream_v2(struct blas* h, cudaStream_t s) {
  h->stream = s;
  return 0;
}

API int cublasSetMathMode(struct blas* h, int m) {
  h->math = m;
  return 0;
}

API int cublasGetMathMode(struct blas* h, int* m) {
  *m = h->math;
  return 0;
}

API int cublasSetPointerMode_v2(struct blas* h, int m) {
  h->pointers = m;
  return 0;
}

API int cublasGetPointerMode_v2(struct blas* h, int* m) {
  *m = h->pointers;
  return 0;
}
OK(cublasDestroy_v2)
OK(cublasSetWorkspace_v2)
OK(cublasSetSmCountTarget)
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasGemmEx)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemv_v2)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDdot_v2)
PRODUCT(cublasDotEx)

API size_t cublasLtGetVersion(void) {
  return 130000;
}

API int cublasLtMatmul(void* h, void* desc, const void* alpha, const void* a, void* da,
                       const void* b, void* db, const void* beta, const void* c, void* dc, void* d,
                       void* dd, const void* algorithm, void* space, size_t n, cudaStream_t s) {
  launch("cublasLtMatmul", s);
  return 0;
}

API int cublasLtMatmulAlgoGetHeuristic(void* h, void* desc, void* a, void* b, void* c, void* d,
                                       void* preference, int asked, void* results, int* n) {
  memset(results, 0, 88);
  *n = 1;
  return 0;
}

GIVES(cublasLtMatmulDescCreate, void*, calloc(1, 256))
GIVES(cublasLtMatmulPreferenceCreate, void*, calloc(1, 256))
GIVES(cublasLtMatrixLayoutCreate, void*, calloc(1, 256))
OK(cublasLtMatmulAlgoCheck)
OK(cublasLtMatmulAlgoInit)
OK(cublasLtMatmulAlgoConfigGetAttribute)
OK(cublasLtMatmulAlgoConfigSetAttribute)
OK(cublasLtMatmulDescDestroy)
OK(cublasLtMatmulDescSetAttribute)
OK(cublasLtMatmulPreferenceDestroy)
OK(cublasLtMatmulPreferenceSetAttribute)
OK(cublasLtMatrixLayoutDestroy)
OK(cublasLtMatrixLayoutSetAttribute)
