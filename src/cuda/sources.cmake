# The files of the CUDA room. `.cu` only where a kernel is launched.
set(cuthresh_cuda_sources backend.cpp blas.cpp check.cpp context.cpp dense.cu gather.cu loss.cu memory.cpp plan.cpp pool.cpp
    prox.cu random.cu select.cu stream.cpp)
list(TRANSFORM cuthresh_cuda_sources PREPEND "${CMAKE_CURRENT_LIST_DIR}/")
