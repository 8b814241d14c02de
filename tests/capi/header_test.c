/* Every name of cuthresh.h from plain C: compiled as C11 (and as C++) with all warnings as errors, and linked with the
   library: prints nothing and returns 0 when a step does what it should. */

#include <cuthresh/cuthresh.h>

int main(void) {
  float w[3] = {1.0f, -0.25f, 0.0f};
  float g[3] = {0.0f, 0.0f, 0.0f};
  cth_context_options context_options = CTH_CONTEXT_OPTIONS_INIT;
  cth_plan_options plan_options = CTH_PLAN_OPTIONS_INIT;
  cth_controller_options controller_options = CTH_CONTROLLER_OPTIONS_INIT;
  cth_context* context = NULL;
  cth_plan* plan = NULL;
  cth_plan_tensor list;
  cth_rate rate = {0.5f, 0.0f, 0.0f};
  float lambda = 1.0f;
  uint64_t nonzeros = 0;
  int wrong = 0;
  list.weight = cth_cpu_float32(w, 3);
  list.gradient = cth_cpu_float32(g, 3);
  list.momentum = cth_cpu_float32(NULL, 0);
  list.group = 0;
  list.rate = 0;
  wrong += cth_context_create(&context_options, &context) != CTH_OK;
  wrong += cth_plan_create(context, &list, 1, &plan_options, &plan) != CTH_OK;
  wrong += cth_plan_set_rates(plan, &rate, 1) != CTH_OK;
  wrong += cth_plan_set_lambda(plan, &lambda, 1) != CTH_OK;
  wrong += cth_prox_step(plan) != CTH_OK;
  wrong += cth_plan_read_counts(plan, &nonzeros, 1) != CTH_OK;
  wrong += nonzeros != 1 || w[0] != 0.5f || w[1] != 0.0f;
  wrong += cth_controller_create(plan, NULL, 0, &controller_options, NULL) != CTH_INVALID_ARGUMENT;
  wrong += cth_controller_update(NULL) != CTH_INVALID_ARGUMENT;
  wrong += cth_last_error()[0] == '\0';
  wrong += cth_cuda_float32(w, 3, 1).device_index != 1;
  cth_plan_destroy(plan);
  cth_context_destroy(context);
  return wrong;
}
