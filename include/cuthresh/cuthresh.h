/* cuthresh: training to a prescribed sparsity, as a C library.

   A training loop of any kind gets three things here: a proximal gradient step over a list of
   tensors with exact counts of nonzeros (cth_prox_step), reductions over such lists
   (cth_count_nonzero, cth_bracket_median, cth_kth_magnitude, cth_kkt_residual), and a controller
   that makes the count of nonzeros what was asked for (cth_controller_*).

     cth_context *context;  cth_context_create(NULL, &context);                        // the CPU
     cth_plan_tensor list = {.weight = cth_cpu_float32(w, n), .gradient = cth_cpu_float32(g, n)};
     cth_plan *plan;        cth_plan_create(context, &list, 1, NULL, &plan);
     cth_rate rate = {.learning_rate = 0.1f};
     cth_plan_set_rates(plan, &rate, 1);
     float lambda = 0.01f;  cth_plan_set_lambda(plan, &lambda, 1);
     uint64_t nonzeros;     cth_prox_step(plan);  cth_plan_read_counts(plan, &nonzeros, 1);

   Rules that hold everywhere:
   - A function returns CTH_OK or says what was wrong; cth_last_error() then has a sentence that
   names the argument, its value and the remedy. Nothing is thrown, printed or aborted, and after an
   error nothing has changed. Arguments are checked as far as the host can see them: memory of the
   right size and life is the caller's promise.
   - Functions enqueue work on the context's stream and return. Those named cth_…_read…,
   cth_count_nonzero, cth_bracket_median, cth_kth_magnitude, cth_kkt_residual, cth_controller_save
   and cth_context_synchronize wait for it. On the CPU work is done on return. Results of one
   sequence of calls are the same bits each time.
   - Tensors belong to the caller, are contiguous, and must live, unmoved, as long as the plan that
   names them or, for gradients, until the next cth_plan_set_gradients. No call copies or keeps
   their contents.
   - A context, with its plans and controllers, may be used from any thread: calls on one context
   wait for each other. Contexts do not disturb each other. Handles may be destroyed in any order
   and while another thread is in a call with another handle: what a plan needs of its context lives
   as long as the plan. A controller whose plan is destroyed can only be destroyed: its other calls
   are CTH_INVALID_ARGUMENT. Every …_destroy takes NULL.
   - Structs that may grow begin with struct_size: set it to sizeof, or start from the struct's
   …_INIT.
   - The method and its formulas: Shen, Wang, Xu, Yan, arXiv 2408.02801; where another source is
   meant, it is named. */

#ifndef CUTHRESH_CUTHRESH_H
#define CUTHRESH_CUTHRESH_H

#include <stddef.h>
#include <stdint.h>

#define CTH_VERSION_MAJOR 0
#define CTH_VERSION_MINOR 1
#define CTH_VERSION_PATCH 0

#if defined(__GNUC__)
#define CTH_C_API __attribute__((visibility("default")))
#else
#define CTH_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cth_status {
  CTH_OK = 0,
  CTH_INVALID_ARGUMENT = 1, /* an argument is out of range, null, or does not fit another */
  CTH_UNSUPPORTED = 2,      /* sensible, but not here: a dtype, a device that cannot be had */
  CTH_DEVICE_ERROR = 3,  /* the machine failed: out of memory, a CUDA call that returned an error */
  CTH_INTERNAL_ERROR = 4 /* a fault of this library */
} cth_status;

/* The version that is running, "0.1.0", and its numbers (any of them may be NULL). Static. */
CTH_C_API const char* cth_version(void);
CTH_C_API void cth_version_numbers(int* major, int* minor, int* patch);
/* "where: what (got value); remedy" of the latest call of this thread that did not return CTH_OK;
   "" before the first. Valid until the thread's next call that fails. */
CTH_C_API const char* cth_last_error(void);
/* "CTH_INVALID_ARGUMENT"; "unknown status" for a number that is none. Static. */
CTH_C_API const char* cth_status_name(cth_status status);

/* ---- tensors ---- */

/* DLPack's numbers. */
typedef enum cth_device_type { CTH_CPU = 1, CTH_CUDA = 2 } cth_device_type;

/* Weights and gradients of a plan have one of these, all the same. Arithmetic is in float32, of
   CTH_FLOAT64 in float64. Of 16-bit weights a float32 master copy is stepped, and the weights are
   its rounding to the nearest, ties to even, beyond the largest finite value ±∞; they are what is
   counted: a weight that rounds to 0 is zero. */
typedef enum cth_dtype {
  CTH_FLOAT32 = 0,
  CTH_FLOAT64 = 1,
  CTH_FLOAT16 = 2,
  CTH_BFLOAT16 = 3
} cth_dtype;

/* Memory of `size` contiguous elements; data may be NULL where that is said to mean something, or
 * with size 0. */
typedef struct cth_tensor {
  void* data;
  int64_t size;
  int32_t dtype;        /* cth_dtype */
  int32_t device_type;  /* cth_device_type */
  int32_t device_index; /* CUDA: the device's number; CPU: 0 */
} cth_tensor;

static inline cth_tensor cth_cpu_tensor(void* data, int64_t size, cth_dtype dtype) {
  cth_tensor tensor = {data, size, dtype, CTH_CPU, 0};
  return tensor;
}
static inline cth_tensor cth_cuda_tensor(void* data, int64_t size, cth_dtype dtype,
                                         int32_t device_index) {
  cth_tensor tensor = {data, size, dtype, CTH_CUDA, device_index};
  return tensor;
}
static inline cth_tensor cth_cpu_float32(void* data, int64_t size) {
  cth_tensor tensor = {data, size, CTH_FLOAT32, CTH_CPU, 0};
  return tensor;
}
static inline cth_tensor cth_cuda_float32(void* data, int64_t size, int32_t device_index) {
  cth_tensor tensor = {data, size, CTH_FLOAT32, CTH_CUDA, device_index};
  return tensor;
}

/* The tensor that `dl_tensor`, a DLTensor* of DLPack (dlpack.h, any version up to 1.x), describes;
   a void* here because dlpack.h gives the struct no tag that could be declared. CTH_UNSUPPORTED: a
   dtype other than those above, more than one lane, another device than kDLCPU, kDLCUDA,
   kDLCUDAHost (taken as CPU) and kDLCUDAManaged (taken as CUDA), strides that are not those of a
   contiguous array. Ownership stays where it was. */
CTH_C_API cth_status cth_tensor_from_dlpack(const void* dl_tensor, cth_tensor* to);

/* ---- contexts ---- */

/* A device, a stream, and what they need. */
typedef struct cth_context cth_context;

typedef struct cth_context_options {
  size_t struct_size;
  int32_t device_type;  /* cth_device_type */
  int32_t device_index; /* CUDA: which device; CPU: 0 */
  int32_t threads;      /* CPU: at most so many; 0: one a core that the process may use, or
                           OMP_NUM_THREADS */
  void* stream; /* CUDA: the caller's cudaStream_t, NULL being the default stream; CPU: NULL */
} cth_context_options;
#define CTH_CONTEXT_OPTIONS_INIT \
  { sizeof(cth_context_options), CTH_CPU, 0, 0, NULL }

/* options NULL: the CPU. CTH_UNSUPPORTED: CUDA cannot be used, with the reason. */
CTH_C_API cth_status cth_context_create(const cth_context_options* options, cth_context** context);
CTH_C_API void cth_context_destroy(cth_context* context);
/* All that follows is enqueued there; it comes after all that was enqueued before. The stream stays
   the caller's and must outlive its use here. CPU: only NULL. */
CTH_C_API cth_status cth_context_set_stream(cth_context* context, void* stream);
/* "cpu (tiled, 2 threads, avx512)". Lives as long as the context. */
CTH_C_API cth_status cth_context_description(cth_context* context, const char** text);
/* Waits until all that was enqueued is done. */
CTH_C_API cth_status cth_context_synchronize(cth_context* context);
/* Bytes that came from the device to the host so far, counted at 8 a number that was read. */
CTH_C_API cth_status cth_context_bytes_to_host(cth_context* context, uint64_t* bytes);

/* ---- plans: a list of tensors, their λ, rates and counts ---- */

typedef struct cth_plan cth_plan;

typedef enum cth_step_kind {
  CTH_STEP_SGD = 0,      /* z = w − αg */
  CTH_STEP_MOMENTUM = 1, /* v ← μv + g, z = w − αv: PyTorch's SGD, dampening 0 */
  CTH_STEP_NESTEROV = 2, /* v ← μv + g, z = w − α(g + μv): PyTorch's SGD, nesterov=True */
  CTH_STEP_THRESHOLD = 3 /* z = w: another optimizer has stepped */
} cth_step_kind;

typedef struct cth_plan_tensor {
  cth_tensor weight;   /* stepped and thresholded in place */
  cth_tensor gradient; /* as large as weight; data NULL: none yet, the tensor is counted and not
                          stepped. CTH_STEP_THRESHOLD reads none and steps every tensor */
  cth_tensor momentum; /* as large as weight, CTH_FLOAT64 beside such weights, else CTH_FLOAT32;
                          zeros to begin with; read and written by kinds with a momentum, else
                          unused */
  int32_t group; /* whose λ it has and whose count it goes into, from 0; −1: neither penalised nor
                    counted (a bias) */
  int32_t rate;  /* which of the plan's rates it is stepped with, from 0 */
} cth_plan_tensor;

typedef struct cth_plan_options {
  size_t struct_size;
  int32_t kind;   /* cth_step_kind */
  int32_t groups; /* more than every tensor's group; 0: as many as they name */
  int32_t rates;  /* more than every tensor's rate; 0: as many as they name */
  /* [count], for 16-bit weights: the master copy of each tensor, CTH_FLOAT32, as large as it; data
     NULL, or NULL for all: the plan keeps one. An entry whose rounding is not the weight becomes
     the weight when the plan is made, so they may be zeros to begin with. Other dtypes: unused. */
  const cth_tensor* masters;
} cth_plan_options;
#define CTH_PLAN_OPTIONS_INIT \
  { sizeof(cth_plan_options), CTH_STEP_SGD, 0, 0, NULL }

/* options NULL: CTH_PLAN_OPTIONS_INIT. 1 to 2^24 tensors, all on the context's device and of one
   dtype, else CTH_UNSUPPORTED: make a plan for each. No weight, momentum or master copy may overlap
   another array. λ and rates are 0 to begin with. */
CTH_C_API cth_status cth_plan_create(cth_context* context, const cth_plan_tensor* tensors,
                                     size_t count, const cth_plan_options* options,
                                     cth_plan** plan);
CTH_C_API void cth_plan_destroy(cth_plan* plan);
/* Groups and rates that the plan has. Either pointer may be NULL. */
CTH_C_API cth_status cth_plan_extents(const cth_plan* plan, size_t* groups, size_t* rates);

/* data of each tensor's gradient, in the order of the list, each as large as its weight and on its
   device; NULL: from here on the tensor is counted and not stepped. Where all are as they were
   nothing is enqueued, but in a capture and after one: each replay of the graph sets what was set
   while it was captured. */
CTH_C_API cth_status cth_plan_set_gradients(cth_plan* plan, const void* const* gradients,
                                            size_t count);

typedef struct cth_rate {
  float learning_rate; /* α, finite, ≥ 0 */
  float momentum;      /* μ in [0, 1) */
  float weight_decay;  /* finite, ≥ 0: the gradient is g + weight_decay·w, as in PyTorch */
} cth_rate;
/* As many as the plan has. λ keeps its meaning when α changes: the threshold is αλ, for each tensor
 * with its own α. */
CTH_C_API cth_status cth_plan_set_rates(cth_plan* plan, const cth_rate* rates, size_t count);
/* One a group, finite, ≥ 0. A controller sets those of its targets by itself. */
CTH_C_API cth_status cth_plan_set_lambda(cth_plan* plan, const float* lambda, size_t count);
/* The same in float64: what plans of CTH_FLOAT64 compute with (cth_plan_set_rates and
   cth_plan_set_lambda give them float32's values); others round it to float32. */
typedef struct cth_rate64 {
  double learning_rate;
  double momentum;
  double weight_decay;
} cth_rate64;
CTH_C_API cth_status cth_plan_set_rates64(cth_plan* plan, const cth_rate64* rates, size_t count);
CTH_C_API cth_status cth_plan_set_lambda64(cth_plan* plan, const double* lambda, size_t count);
/* Of 16-bit plans, after anyone but this library has written weights (a state was loaded): master
   copies whose rounding is not the weight become the weight; the others keep their precision.
   Plans of CTH_STEP_THRESHOLD do it before each step by themselves. Only enqueues; plans of other
   dtypes have none, and nothing happens. */
CTH_C_API cth_status cth_plan_refresh_masters(cth_plan* plan);
/* As it is now, rounded to float32. */
CTH_C_API cth_status cth_plan_read_lambda(cth_plan* plan, float* lambda, size_t count);
/* A float32 in the device's memory: while it is not 0, steps and controllers change nothing,
   without the host's knowing. For the found_inf of a gradient scaler. NULL: every step is taken. A
   controller counts such steps among its phases: where all of CTH_PHASE_FINISH are skipped nothing
   is cut, as cth_controller_read then shows. */
CTH_C_API cth_status cth_plan_set_skip(cth_plan* plan, const float* flag);

/* w ← soft(z, αλ), soft(z, t) = sign(z)·max(|z| − t, 0), over the whole list in one pass (one
   kernel), with the counts; z as the plan's kind says. Where a controller is at its last phases: as
   cth_controller_update says. A step after which an entry is not finite is the last one taken,
   until cth_plan_restart. */
CTH_C_API cth_status cth_prox_step(cth_plan* plan);

typedef struct cth_step_status {
  int64_t steps;      /* taken since the plan was made or restarted */
  uint64_t nonzeros;  /* over all groups, after the last step */
  uint64_t nonfinite; /* entries of any tensor that were NaN or ±∞ after the last step */
  int32_t stopped;    /* 1: no step is taken any more, because of them */
} cth_step_status;
CTH_C_API cth_status cth_plan_read_status(cth_plan* plan, cth_step_status* status);
/* Nonzeros of each group after the last step. */
CTH_C_API cth_status cth_plan_read_counts(cth_plan* plan, uint64_t* nonzeros, size_t groups);
/* Clears the status, takes steps again, and forgets a controller's phases: its plan is as new. */
CTH_C_API cth_status cth_plan_restart(cth_plan* plan);

/* ---- reductions over a plan's list, of the contents as they are; all wait ---- */

/* Entries of each group that are not ±0 (NaN is not). */
CTH_C_API cth_status cth_count_nonzero(cth_plan* plan, uint64_t* nonzeros, size_t groups);

typedef enum cth_operand { CTH_OF_WEIGHTS = 0, CTH_OF_GRADIENTS = 1 } cth_operand;

typedef struct cth_bracket {
  float low;  /* ≥ 0 */
  float high; /* ≥ low, +∞ allowed */
} cth_bracket;
typedef struct cth_median {
  uint64_t inside; /* entries x with low < |x| < high */
  float median;    /* their lower median, exactly; NaN when there are none */
} cth_median;
/* The lower median of the magnitudes strictly inside a bracket: the next λ of Algorithms 1 and 2.
   `count` brackets and results: one a group, or one over all groups. */
CTH_C_API cth_status cth_bracket_median(cth_plan* plan, cth_operand operand,
                                        const cth_bracket* brackets, cth_median* medians,
                                        size_t count);
/* The k-th largest magnitude over all groups, exactly, k from 1 to their size; NaN counts as above
 * +∞. */
CTH_C_API cth_status cth_kth_magnitude(cth_plan* plan, cth_operand operand, int64_t k,
                                       float* magnitude);
/* The same in float64, of every dtype. The two above are CTH_UNSUPPORTED for CTH_FLOAT64. */
typedef struct cth_bracket64 {
  double low;
  double high;
} cth_bracket64;
typedef struct cth_median64 {
  uint64_t inside;
  double median;
} cth_median64;
CTH_C_API cth_status cth_bracket_median64(cth_plan* plan, cth_operand operand,
                                          const cth_bracket64* brackets, cth_median64* medians,
                                          size_t count);
CTH_C_API cth_status cth_kth_magnitude64(cth_plan* plan, cth_operand operand, int64_t k,
                                         double* magnitude);

/* How far a group is from a stationary point of L + λ‖w‖₁, absolutely: with g its gradient,
   on_nonzero = max |g + λ sign w| where w ≠ 0, and on_zero = max(|g| − λ, 0) where w = 0. 0 without
   such entries. Of CTH_FLOAT64 computed there and rounded. */
typedef struct cth_kkt {
  uint64_t nonzeros;
  uint64_t zeros;
  float on_nonzero;
  float on_zero;
} cth_kkt;
/* With the plan's λ and gradients; of each group. */
CTH_C_API cth_status cth_kkt_residual(cth_plan* plan, cth_kkt* residuals, size_t groups);

/* ---- the controller: λ from the number of nonzeros that is wanted ---- */

typedef struct cth_controller cth_controller;

/* Groups that share one λ. */
typedef struct cth_target {
  const int32_t* groups; /* of the plan, each in at most one target; NULL: all of them */
  size_t group_count;    /* with groups NULL 0, or the number of all, which bounds need */
  uint64_t nonzeros; /* wanted at the end, from 1 to the number of their weights; 0: as `sparsity`
                        says */
  double sparsity; /* share of zeros wanted, in [0, 1): ⌊(1 − sparsity)·weights + ½⌋ nonzeros, at
                      least 1 */
  double tolerance; /* ≥ 0: met with |nonzeros − wanted| ≤ tolerance·wanted. It changes nothing but
                       the report */
  float lambda; /* where λ begins, > 0; 0: found from the weights and learning rates of now, which
                   waits: λ at which only the wanted number would be left by the end of the ramp if
                   no gradient held the weights. Must be given with total_weights */
  const uint64_t*
      least; /* [group_count]: the fewest nonzeros that each group is left with; NULL: no bound */
  const uint64_t* most; /* [group_count]: the most */
  /* Where other processes hold the rest of these weights: how many there are in all, which
     `nonzeros` and `sparsity` then mean; 0: these are all. No step finishes such a target: in
     CTH_PHASE_FINISH they are plain ones, and the caller cuts, before the update after which
     CTH_PHASE_DEBIAS comes. Without bounds. */
  uint64_t total_weights;
} cth_target;

/* The phases of one training, in shares of `steps`, each from 0 to 1 (docs/one-run.md). Steps are
   those of cth_prox_step. There must be enough of them for ramp_begin < ramp_end ≤ 1 − debias −
   finish, each rounded to whole steps. */
typedef struct cth_controller_options {
  size_t struct_size;
  int64_t steps;     /* of the whole training */
  double ramp_begin; /* before it λ is 0 */
  double ramp_end;   /* from there on the count wanted is the target's */
  double finish; /* this share before `debias`, at least a step: only the target's number of largest
                    |z| survive */
  double debias; /* the last share: zeros are frozen at zero, and there is no threshold */
  /* λ = exp(u + proportional_gain·e), e = log(count/wanted) cut to ±1; u moves by integral_gain·e
     in all steps together. From 0 to 10^6. */
  double integral_gain;
  double proportional_gain;
  int64_t update_every; /* cth_controller_update looks at every so many steps; 0: at most 2000 looks
                           in all. 1 where steps are replayed from a captured graph together with
                           the update. */
} cth_controller_options;
#define CTH_CONTROLLER_OPTIONS_INIT \
  { sizeof(cth_controller_options), 0, 0.05, 0.6, 0.02, 0.2, 30.0, 1.0, 0 }

/* Takes over λ of the plan's groups that have a target, and restarts the plan. At most one a plan.
   1 target or more; options must be given, with `steps`. The arrays that targets point to are
   copied. */
CTH_C_API cth_status cth_controller_create(cth_plan* plan, const cth_target* targets, size_t count,
                                           const cth_controller_options* options,
                                           cth_controller** controller);
/* λ of the groups stays what it is; the plan's steps are plain ones again, with a status that
   begins anew and zeros that are no longer frozen. */
CTH_C_API void cth_controller_destroy(cth_controller* controller);

/* After each cth_prox_step: sets λ of the steps that follow and, when its time has come, that the
   next steps leave exactly the target's number of nonzeros in every target (ties: the lowest index
   in the list's order survives), and after those, that zeros are frozen. Only enqueues. Phases
   follow the number of updates: one that is replayed from a graph is not counted and must lie
   before the finish. */
CTH_C_API cth_status cth_controller_update(cth_controller* controller);

/* For weights that are divided among processes (targets with total_weights): nonzeros of each
   target in this one, after the latest step, into device memory; the caller adds them up over the
   processes, in stream order, and hands the sums to update_from, which is cth_controller_update
   with these counts. */
CTH_C_API cth_status cth_controller_copy_counts(cth_controller* controller, int64_t* device_counts,
                                                size_t targets);
CTH_C_API cth_status cth_controller_update_from(cth_controller* controller,
                                                const int64_t* device_counts, size_t targets);

typedef enum cth_phase {
  CTH_PHASE_DENSE = 0,  /* λ = 0 */
  CTH_PHASE_RAMP = 1,   /* the count falls with the schedule */
  CTH_PHASE_HOLD = 2,   /* the count is held at the target */
  CTH_PHASE_FINISH = 3, /* every step leaves exactly the target */
  CTH_PHASE_DEBIAS = 4, /* zeros are frozen */
  CTH_PHASE_DONE = 5    /* all steps are taken; further ones are as in the debias */
} cth_phase;
/* Of the next step. Waits for nothing. */
CTH_C_API cth_status cth_controller_phase(const cth_controller* controller, cth_phase* phase);

typedef struct cth_target_report {
  uint64_t weights;
  uint64_t target;
  uint64_t nonzeros; /* of the weights as they are; with total_weights: of those in this process */
  float lambda;      /* of the groups that are above their least */
  int32_t met;       /* 1: within the tolerance; with total_weights 0 */
} cth_target_report;
CTH_C_API cth_status cth_controller_read(cth_controller* controller, cth_target_report* reports,
                                         size_t targets);

/* All that a controller needs beside the weights and momenta to go on as if nothing had happened.
   `bytes` NULL: *size becomes how many there are; else at most *size are written. The format is
   this library's own, the same on every device, and read by later versions. */
CTH_C_API cth_status cth_controller_save(cth_controller* controller, void* bytes, size_t* size);
/* Into a controller that was created with the same targets and options, after the weights of then
   were put back (master copies are refreshed). Another number of targets or of steps is
   CTH_INVALID_ARGUMENT and changes nothing.
 */
CTH_C_API cth_status cth_controller_load(cth_controller* controller, const void* bytes,
                                         size_t size);

/* ---- how many weights to give each layer ---- */

/* Densities in proportion to dims[i]/sizes[i], where dims is the sum of the layer's extents ([out,
   in]: out + in; with a kernel [out, in, kh, kw]: their sum), none above 1, in all `total` nonzeros
   and at least 1 a layer: Erdős–Rényi (Mocanu et al. 2018) and its kernel version (Evci et al.
   2020, RigL). nonzeros: [layers], their sum is exactly `total`, which must be from `layers` to the
   sum of the sizes. */
CTH_C_API cth_status cth_allocate_erdos_renyi(const int64_t* sizes, const int64_t* dims,
                                              size_t layers, uint64_t total, uint64_t* nonzeros);

#ifdef __cplusplus
}
#endif

#endif
