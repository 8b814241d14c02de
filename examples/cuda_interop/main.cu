// Weights in memory of our own on a GPU, trained on a stream of our own: a kernel of ours writes
// the gradients, cuthresh steps, counts and sets λ on the same stream, and nothing waits before the
// end. Exit status 0: exactly the target's number of weights is left; 77: there is no CUDA device.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cuthresh/cuthresh.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int kWeights = 100'000;
constexpr std::uint64_t kWanted = 10'000;
constexpr int kSteps = 500;

void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

/// Device memory of `size` floats.
class Floats {
 public:
  explicit Floats(int size) {
    check_cuda(cudaMalloc(&data_, static_cast<std::size_t>(size) * sizeof(float)), "cudaMalloc");
  }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  ~Floats() { cudaFree(data_); }
  float* data() const { return data_; }

 private:
  float* data_ = nullptr;
};

class Stream {
 public:
  Stream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// The loss is ½‖w − c‖² with c_i = (i·7919 mod size)/size − ½, so that its gradient is w − c.
__device__ float optimum(int i, int size) {
  return static_cast<float>(static_cast<long long>(i) * 7919 % size) / static_cast<float>(size) -
         0.5f;
}

__global__ void begin_at_optimum(float* w, int size) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size) w[i] = optimum(i, size);
}

__global__ void gradient(float* g, const float* w, int size) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size) g[i] = w[i] - optimum(i, size);
}

cth_target_report train(const cth::Context& context, const Floats& w, const Floats& g,
                        cudaStream_t stream) {
  constexpr int kThreads = 256;
  constexpr int kBlocks = (kWeights + kThreads - 1) / kThreads;
  cth::Plan plan(
      context, {cth::plan_tensor(cth::cuda(w.data(), kWeights), cth::cuda(g.data(), kWeights), 0)});
  plan.set_rates({{0.1f, 0.0f, 0.0f}});
  begin_at_optimum<<<kBlocks, kThreads, 0, stream>>>(w.data(), kWeights);
  cth::Controller controller(plan, {cth::target_nonzeros(kWanted)},
                             cth::controller_options(kSteps));
  for (int step = 0; step < kSteps; ++step) {
    gradient<<<kBlocks, kThreads, 0, stream>>>(g.data(), w.data(), kWeights);
    plan.step();
    controller.update();
  }
  check_cuda(cudaGetLastError(), "launch");
  return controller.read()[0];  // waits
}

int run() {
  const Stream stream;
  const Floats w(kWeights);
  const Floats g(kWeights);
  const cth::Context context = cth::Context::cuda(0, stream.get());
  std::printf("%s\n", context.description().c_str());
  const cth_target_report report = train(context, w, g, stream.get());

  std::vector<float> on_host(kWeights);
  check_cuda(cudaMemcpy(on_host.data(), w.data(), kWeights * sizeof(float), cudaMemcpyDeviceToHost),
             "cudaMemcpy");
  const auto left = kWeights - static_cast<int>(std::count(on_host.begin(), on_host.end(), 0.0f));
  std::printf("%d of %d weights\n", left, kWeights);
  return left == static_cast<int>(kWanted) && report.met == 1 ? 0 : 1;
}

}  // namespace

int main() try {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("no CUDA device: %s\n", cudaGetErrorString(error));
    return 77;
  }
  return run();
} catch (const cth::Error& error) {
  std::fprintf(stderr, "%s: %s\n", cth_status_name(error.status()), error.what());
  return error.status() == CTH_UNSUPPORTED ? 77 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
