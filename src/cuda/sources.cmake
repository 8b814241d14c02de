# The files of the CUDA room. `.cu` only where a kernel is launched.
set(cuthresh_cuda_sources backend.cpp blas.cpp check.cpp context.cpp control.cu conv.cu dense.cu dnn.cpp gather.cu graph.cpp images.cu loss.cu memory.cpp
    norm.cu plan.cpp pointwise.cu pool.cpp pool_layer.cu prox.cu random.cu rates.cu select.cu small_network.cu stream.cpp)
list(TRANSFORM cuthresh_cuda_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
