#include "capi/handles.hpp"
#include "core/registry.hpp"

namespace cuthresh::capi {
namespace {

constexpr char kCreate[] = "cth_context_create";

void check_options(const cth_context_options& o) {
  if (o.device_type != CTH_CPU && o.device_type != CTH_CUDA) {
    invalid(argument(kCreate, "options->device_type"), "must be CTH_CPU or CTH_CUDA",
            std::to_string(o.device_type), "use one of them");
  }
  const bool cpu = o.device_type == CTH_CPU;
  if (o.device_index < 0 || (cpu && o.device_index != 0)) {
    invalid(argument(kCreate, "options->device_index"),
            cpu ? "must be 0 with CTH_CPU" : "must not be negative", std::to_string(o.device_index),
            cpu ? "pass 0" : "number the devices from 0");
  }
  constexpr std::int32_t kMostThreads = 1024;
  if (o.threads < 0 || o.threads > kMostThreads) {
    invalid(argument(kCreate, "options->threads"), "must be from 0 to 1024",
            std::to_string(o.threads), "pass 0 for one a core");
  }
  if (cpu && o.stream != nullptr) {
    invalid(argument(kCreate, "options->stream"), "the CPU has no streams", "a pointer",
            "pass NULL");
  }
}

std::unique_ptr<Backend> make_room(const cth_context_options& o) {
  BackendOptions options;
  options.device = o.device_type == CTH_CPU ? "cpu" : "cuda";
  options.engine = "tiled";  // products are for networks
  options.threads = o.threads;
  options.device_index = o.device_index;
  if (o.device_type == CTH_CUDA) options.stream = o.stream;  // null: the default stream
  options.networks = false;
  try {
    return make_backend(options).backend;
  } catch (const InputError& error) {
    unsupported(argument(kCreate, "options"), error.info().what,
                name_of({o.device_type, o.device_index}),
                "use another device, or CTH_CPU with tensors on the CPU");
  }
}

}  // namespace

cth_context* make_context(std::unique_ptr<Backend> backend, const Device& device) {
  return new cth_context{std::make_shared<Context>(std::move(backend), device)};
}

}  // namespace cuthresh::capi

using namespace cuthresh::capi;

cth_status cth_context_create(const cth_context_options* options, cth_context** context) {
  return guarded(kCreate, [&] {
    require(kCreate, "context", context);
    const auto o = read_options<cth_context_options>(kCreate, options, CTH_CONTEXT_OPTIONS_INIT);
    check_options(o);
    *context = make_context(make_room(o), {o.device_type, o.device_index});
  });
}

void cth_context_destroy(cth_context* context) {
  if (context == nullptr) return;
  const std::unique_ptr<cth_context> handle(context);
  // Waits for a call that another thread is in; plans and controllers may go on.
  (void)with_context("cth_context_destroy", context, [](Context&) {});
}

cth_status cth_context_set_stream(cth_context* context, void* stream) {
  constexpr char kFunction[] = "cth_context_set_stream";
  return with_context(kFunction, context, [&](Context& c) {
    if (c.device.type == CTH_CPU && stream != nullptr) {
      invalid(argument(kFunction, "stream"), "the CPU has no streams", "a pointer", "pass NULL");
    }
    c.backend->set_stream(stream);
  });
}

cth_status cth_context_description(cth_context* context, const char** text) {
  constexpr char kFunction[] = "cth_context_description";
  return with_context(kFunction, context, [&](Context& c) {
    require(kFunction, "text", text);
    *text = c.description.c_str();
  });
}

cth_status cth_context_synchronize(cth_context* context) {
  return with_context("cth_context_synchronize", context,
                      [](Context& c) { c.backend->synchronize(); });
}

cth_status cth_context_bytes_to_host(cth_context* context, uint64_t* bytes) {
  constexpr char kFunction[] = "cth_context_bytes_to_host";
  return with_context(kFunction, context, [&](Context& c) {
    require(kFunction, "bytes", bytes);
    *bytes = c.backend->bytes_to_host();
  });
}
