/* A proximal gradient step with its count, then a training of a sparse linear model that ends with
   exactly the number of weights that was asked for. Exit status 0: both did what they promise. */

#include <cuthresh/cuthresh.h>
#include <stdint.h>
#include <stdio.h>

/* Leaves the function with the status of a call that failed. */
#define TRY(call)                      \
  do {                                 \
    cth_status tried = (call);         \
    if (tried != CTH_OK) return tried; \
  } while (0)

enum { kRows = 200, kWeights = 50, kTrueWeights = 8, kSteps = 1000 };

static float uniform(uint32_t* state) { /* on [−1, 1) */
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

/* w − αg = {0.5, −0.25, 0.05, −0.1}, shrunk by αλ = 0.1: two of four are left. */
static cth_status one_step(cth_context* context, uint64_t* nonzeros) {
  float w[4] = {0.75f, -0.25f, 0.0f, -0.1f};
  float g[4] = {2.5f, 0.0f, -0.5f, 0.0f};
  cth_plan_tensor list = {.weight = cth_cpu_float32(w, 4), .gradient = cth_cpu_float32(g, 4)};
  cth_rate rate = {.learning_rate = 0.1f};
  float lambda = 1.0f;
  cth_plan* plan = NULL;
  TRY(cth_plan_create(context, &list, 1, NULL, &plan));
  cth_status status = cth_plan_set_rates(plan, &rate, 1);
  if (status == CTH_OK) status = cth_plan_set_lambda(plan, &lambda, 1);
  if (status == CTH_OK) status = cth_prox_step(plan);
  if (status == CTH_OK) status = cth_plan_read_counts(plan, nonzeros, 1);
  cth_plan_destroy(plan);
  printf("one step: %g %g %g %g\n", (double)w[0], (double)w[1], (double)w[2], (double)w[3]);
  return status;
}

typedef struct problem {
  float x[kRows][kWeights];
  float y[kRows];
  float w[kWeights];
  float g[kWeights];
} problem;

/* y = Xv + noise, where kTrueWeights entries of v are ±1 and the others zero. */
static void make(problem* p) {
  uint32_t state = 7;
  for (int i = 0; i < kWeights; ++i) p->w[i] = 0.14f * uniform(&state);
  for (int r = 0; r < kRows; ++r) {
    p->y[r] = 0.01f * uniform(&state);
    for (int i = 0; i < kWeights; ++i) {
      p->x[r][i] = uniform(&state);
      if (i % 6 == 0 && i < 6 * kTrueWeights) p->y[r] += (i % 4 == 0 ? 1.0f : -1.0f) * p->x[r][i];
    }
  }
}

/* g = Xᵀ(Xw − y)/rows; the mean squared residual. */
static double gradient(problem* p) {
  double loss = 0.0;
  for (int i = 0; i < kWeights; ++i) p->g[i] = 0.0f;
  for (int r = 0; r < kRows; ++r) {
    float residual = -p->y[r];
    for (int i = 0; i < kWeights; ++i) residual += p->x[r][i] * p->w[i];
    for (int i = 0; i < kWeights; ++i) p->g[i] += residual * p->x[r][i] / kRows;
    loss += (double)residual * (double)residual / kRows;
  }
  return loss;
}

/* The training loop: a gradient from anywhere, a step, an update. */
static cth_status train(problem* p, cth_plan* plan, cth_controller* controller,
                        cth_target_report* report) {
  for (int step = 0; step < kSteps; ++step) {
    gradient(p);
    TRY(cth_prox_step(plan));
    TRY(cth_controller_update(controller));
  }
  return cth_controller_read(controller, report, 1);
}

static cth_status least_squares(cth_context* context, problem* p, cth_target_report* report) {
  cth_plan_tensor list = {.weight = cth_cpu_float32(p->w, kWeights),
                          .gradient = cth_cpu_float32(p->g, kWeights)};
  cth_rate rate = {.learning_rate = 0.5f};
  cth_target target = {.nonzeros = kTrueWeights};
  cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
  options.steps = kSteps;
  cth_plan* plan = NULL;
  cth_controller* controller = NULL;
  TRY(cth_plan_create(context, &list, 1, NULL, &plan));
  cth_status status = cth_plan_set_rates(plan, &rate, 1);
  if (status == CTH_OK) status = cth_controller_create(plan, &target, 1, &options, &controller);
  if (status == CTH_OK) status = train(p, plan, controller, report);
  cth_controller_destroy(controller);
  cth_plan_destroy(plan);
  return status;
}

int main(void) {
  static problem p;
  uint64_t nonzeros = 0;
  cth_target_report report = {0};
  cth_context* context = NULL;
  make(&p);
  cth_status status = cth_context_create(NULL, &context);
  if (status == CTH_OK) status = one_step(context, &nonzeros);
  if (status == CTH_OK) status = least_squares(context, &p, &report);
  cth_context_destroy(context);
  if (status != CTH_OK) {
    fprintf(stderr, "%s: %s\n", cth_status_name(status), cth_last_error());
    return 1;
  }
  double loss = gradient(&p);
  int left = 0;
  for (int i = 0; i < kWeights; ++i) left += p.w[i] != 0.0f;
  printf("least squares: %d of %d weights, mean squared residual %.2g\n", left, kWeights, loss);
  int kept = nonzeros == 2 && left == kTrueWeights && report.met == 1 && loss < 1e-3;
  if (!kept) fprintf(stderr, "expected 2 nonzeros after one step and 8 after the training\n");
  return kept ? 0 : 1;
}
