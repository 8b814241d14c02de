"""include/cuthresh/cuthresh.h in ctypes: structs and signatures, nothing else."""

from ctypes import (POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64,
                    c_void_p)

NEEDED = (0, 1, 0)  # the version of the header that this describes

CPU, CUDA = 1, 2
FLOAT32, FLOAT64, FLOAT16, BFLOAT16 = range(4)
DTYPE_NAMES = {FLOAT32: "float32", FLOAT64: "float64", FLOAT16: "float16", BFLOAT16: "bfloat16"}
KINDS = {"sgd": 0, "momentum": 1, "nesterov": 2, "threshold": 3}
PHASES = ("dense", "ramp", "hold", "finish", "debias", "done")
WEIGHTS, GRADIENTS = 0, 1


class TensorStruct(Structure):
    _fields_ = [("data", c_void_p), ("size", c_int64), ("dtype", c_int32), ("device_type", c_int32),
                ("device_index", c_int32)]


class ContextOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("device_type", c_int32), ("device_index", c_int32),
                ("threads", c_int32), ("stream", c_void_p)]


class PlanTensorStruct(Structure):
    _fields_ = [("weight", TensorStruct), ("gradient", TensorStruct), ("momentum", TensorStruct),
                ("group", c_int32), ("rate", c_int32)]


class PlanOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("kind", c_int32), ("groups", c_int32), ("rates", c_int32),
                ("masters", POINTER(TensorStruct))]


class RateStruct(Structure):  # cth_rate64
    _fields_ = [("learning_rate", c_double), ("momentum", c_double), ("weight_decay", c_double)]


class StepStatusStruct(Structure):
    _fields_ = [("steps", c_int64), ("nonzeros", c_uint64), ("nonfinite", c_uint64), ("stopped", c_int32)]


class BracketStruct(Structure):  # cth_bracket64
    _fields_ = [("low", c_double), ("high", c_double)]


class MedianStruct(Structure):  # cth_median64
    _fields_ = [("inside", c_uint64), ("median", c_double)]


class KktStruct(Structure):
    _fields_ = [("nonzeros", c_uint64), ("zeros", c_uint64), ("on_nonzero", c_float), ("on_zero", c_float)]


class TargetStruct(Structure):
    _fields_ = [("groups", POINTER(c_int32)), ("group_count", c_size_t), ("nonzeros", c_uint64),
                ("sparsity", c_double), ("tolerance", c_double), ("lambda_start", c_float),
                ("least", POINTER(c_uint64)), ("most", POINTER(c_uint64)), ("total_weights", c_uint64)]


class ControllerOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("steps", c_int64), ("ramp_begin", c_double), ("ramp_end", c_double),
                ("finish", c_double), ("debias", c_double), ("integral_gain", c_double),
                ("proportional_gain", c_double), ("update_every", c_int64)]


class TargetReportStruct(Structure):
    _fields_ = [("weights", c_uint64), ("target", c_uint64), ("nonzeros", c_uint64), ("lambda_", c_float),
                ("met", c_int32)]


# Name: result, arguments. Those with a status return a c_int.
SIGNATURES = {
    "cth_version": (c_char_p, []),
    "cth_version_numbers": (None, [POINTER(c_int)] * 3),
    "cth_last_error": (c_char_p, []),
    "cth_status_name": (c_char_p, [c_int]),
    "cth_tensor_from_dlpack": (c_int, [c_void_p, POINTER(TensorStruct)]),
    "cth_context_create": (c_int, [POINTER(ContextOptions), POINTER(c_void_p)]),
    "cth_context_destroy": (None, [c_void_p]),
    "cth_context_set_stream": (c_int, [c_void_p, c_void_p]),
    "cth_context_description": (c_int, [c_void_p, POINTER(c_char_p)]),
    "cth_context_synchronize": (c_int, [c_void_p]),
    "cth_context_bytes_to_host": (c_int, [c_void_p, POINTER(c_uint64)]),
    "cth_plan_create": (c_int, [c_void_p, POINTER(PlanTensorStruct), c_size_t, POINTER(PlanOptions),
                                POINTER(c_void_p)]),
    "cth_plan_destroy": (None, [c_void_p]),
    "cth_plan_extents": (c_int, [c_void_p, POINTER(c_size_t), POINTER(c_size_t)]),
    "cth_plan_set_gradients": (c_int, [c_void_p, POINTER(c_void_p), c_size_t]),
    "cth_plan_set_rates64": (c_int, [c_void_p, POINTER(RateStruct), c_size_t]),
    "cth_plan_set_lambda64": (c_int, [c_void_p, POINTER(c_double), c_size_t]),
    "cth_plan_refresh_masters": (c_int, [c_void_p]),
    "cth_plan_read_lambda": (c_int, [c_void_p, POINTER(c_float), c_size_t]),
    "cth_plan_set_skip": (c_int, [c_void_p, c_void_p]),
    "cth_prox_step": (c_int, [c_void_p]),
    "cth_plan_read_status": (c_int, [c_void_p, POINTER(StepStatusStruct)]),
    "cth_plan_read_counts": (c_int, [c_void_p, POINTER(c_uint64), c_size_t]),
    "cth_plan_restart": (c_int, [c_void_p]),
    "cth_count_nonzero": (c_int, [c_void_p, POINTER(c_uint64), c_size_t]),
    "cth_bracket_median64": (c_int, [c_void_p, c_int, POINTER(BracketStruct), POINTER(MedianStruct), c_size_t]),
    "cth_kth_magnitude64": (c_int, [c_void_p, c_int, c_int64, POINTER(c_double)]),
    "cth_kkt_residual": (c_int, [c_void_p, POINTER(KktStruct), c_size_t]),
    "cth_controller_create": (c_int, [c_void_p, POINTER(TargetStruct), c_size_t, POINTER(ControllerOptions),
                                      POINTER(c_void_p)]),
    "cth_controller_destroy": (None, [c_void_p]),
    "cth_controller_update": (c_int, [c_void_p]),
    "cth_controller_copy_counts": (c_int, [c_void_p, c_void_p, c_size_t]),
    "cth_controller_update_from": (c_int, [c_void_p, c_void_p, c_size_t]),
    "cth_controller_phase": (c_int, [c_void_p, POINTER(c_int)]),
    "cth_controller_read": (c_int, [c_void_p, POINTER(TargetReportStruct), c_size_t]),
    "cth_controller_save": (c_int, [c_void_p, c_void_p, POINTER(c_size_t)]),
    "cth_controller_load": (c_int, [c_void_p, c_void_p, c_size_t]),
    "cth_allocate_erdos_renyi": (c_int, [POINTER(c_int64), POINTER(c_int64), c_size_t, c_uint64,
                                         POINTER(c_uint64)]),
}
