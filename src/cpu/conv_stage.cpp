#include "cpu/conv_stage.hpp"

#include <string_view>

#include "backend/checks_conv.hpp"

namespace cuthresh::cpu {
namespace {

/// A dnnl_status_t that should have been success.
void check_dnnl(dnnl_status_t status, const ConvShape& s) {
  if (status == dnnl_success) return;
  throw InternalError({"oneDNN convolution", "failed for " + conv_text(s),
                       "status " + std::to_string(static_cast<int>(status)),
                       "try run.engine = \"tiled\""});
}

void set(dnnl::memory& m, const void* data) {
  m.set_data_handle(const_cast<void*>(data));
}

}  // namespace

ConvStage::ConvStage(ConvKind kind, const ConvShape& s, const dnnl::engine& engine, int parts)
    : kind_(kind), shape_(s) {
  try {
    create(engine);
  } catch (const dnnl::error& error) {
    if (error.status != dnnl_unimplemented && error.status != dnnl_invalid_arguments) throw;
    return;
  }
  const Memory::desc plain = plain_weights();
  weights_ = Memory(weights_desc_, engine, DNNL_MEMORY_NONE);
  plain_ = Memory(plain, engine, DNNL_MEMORY_NONE);
  for (int i = 0; i < parts; ++i) {
    slots_.push_back({Memory(source_desc_, engine, DNNL_MEMORY_NONE),
                      Memory(result_desc_, engine, DNNL_MEMORY_NONE),
                      Memory(weights_desc_, engine, DNNL_MEMORY_NONE),
                      Memory(scratch_desc_, engine, DNNL_MEMORY_NONE), dnnl::stream(engine)});
  }
  reorder_ =
      kind == ConvKind::kWeights
          ? dnnl::reorder(dnnl::reorder::primitive_desc(engine, weights_desc_, engine, plain))
          : dnnl::reorder(dnnl::reorder::primitive_desc(engine, plain, engine, weights_desc_));
}

void ConvStage::take_weights(const float* w) {
  float* own = static_cast<float*>(own_weights_.at_least(weights_bytes()));
  set(plain_, w);
  set(weights_, own);
  reorder(plain_, weights_);
  for (Slot& slot : slots_) set(slot.weights, own);
}

void ConvStage::give_weights(const float* blocked, float* w) {
  set(weights_, blocked);
  set(plain_, w);
  reorder(weights_, plain_);
}

void ConvStage::run(int part, const float* from, float* to, void* scratch) {
  Slot& slot = slots_[static_cast<std::size_t>(part)];
  set(slot.source, from);
  set(slot.result, to);
  set(slot.scratch, scratch);
  const bool forward = kind_ == ConvKind::kForward;
  const Arguments args = {{{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, slot.source.get()},
                           {DNNL_ARG_WEIGHTS, slot.weights.get()},
                           {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, slot.result.get()},
                           {DNNL_ARG_SCRATCHPAD, slot.scratch.get()}}};
  execute(slot, args);
}

void ConvStage::run_weights(int part, const float* x, const float* dz, float* dw, void* scratch) {
  Slot& slot = slots_[static_cast<std::size_t>(part)];
  set(slot.source, x);
  set(slot.result, dz);
  set(slot.weights, dw);
  set(slot.scratch, scratch);
  const Arguments args = {{{DNNL_ARG_SRC, slot.source.get()},
                           {DNNL_ARG_DIFF_DST, slot.result.get()},
                           {DNNL_ARG_DIFF_WEIGHTS, slot.weights.get()},
                           {DNNL_ARG_SCRATCHPAD, slot.scratch.get()}}};
  execute(slot, args);
}

void ConvStage::execute(const Slot& slot, const Arguments& args) const {
  check_dnnl(dnnl_primitive_execute(primitive_.get(), slot.stream.get(),
                                    static_cast<int>(args.size()), args.data()),
             shape_);
}

void ConvStage::reorder(Memory& from, Memory& to) {
  const std::array<dnnl_exec_arg_t, 2> args = {
      {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, to.get()}}};
  check_dnnl(dnnl_primitive_execute(reorder_.get(), slots_[0].stream.get(),
                                    static_cast<int>(args.size()), args.data()),
             shape_);
}

dnnl::memory::desc ConvStage::plain_weights() const {
  return {{shape_.out_channels, shape_.in.channels, shape_.window.height, shape_.window.width},
          Memory::data_type::f32,
          Memory::format_tag::oihw};
}

template <class Primitive, class Description>
void ConvStage::keep(const Description& description) {
  const std::string_view name = description.impl_info_str();
  usable_ = name.substr(0, 3) != "ref";
  primitive_ = Primitive(description);
  scratch_desc_ = description.scratchpad_desc();
}

void ConvStage::create(const dnnl::engine& engine) {
  constexpr auto kFloat = Memory::data_type::f32;
  constexpr auto kDirect = dnnl::algorithm::convolution_direct;
  const ConvShape& s = shape_;
  const ImageShape out = s.out();
  const Memory::desc x({s.rows, s.in.channels, s.in.height, s.in.width}, kFloat,
                       Memory::format_tag::nhwc);
  const Memory::desc y({s.rows, out.channels, out.height, out.width}, kFloat,
                       Memory::format_tag::nhwc);
  const Memory::desc w({s.out_channels, s.in.channels, s.window.height, s.window.width}, kFloat,
                       Memory::format_tag::any);
  const Memory::dims strides{s.window.stride_height, s.window.stride_width};
  const Memory::dims pads{s.window.pad_height, s.window.pad_width};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  using Forward = dnnl::convolution_forward;
  using Data = dnnl::convolution_backward_data;
  using Weights = dnnl::convolution_backward_weights;
#if DNNL_VERSION_MAJOR >= 3
  const Forward::primitive_desc forward(engine, dnnl::prop_kind::forward_training, kDirect, x, w, y,
                                        strides, pads, pads, attributes);
#else
  const Forward::primitive_desc forward(
      Forward::desc(dnnl::prop_kind::forward_training, kDirect, x, w, y, strides, pads, pads),
      attributes, engine);
#endif
  source_desc_ = x;
  result_desc_ = y;
  if (kind_ == ConvKind::kForward) {
    weights_desc_ = forward.weights_desc();
    keep<Forward>(forward);
  } else if (kind_ == ConvKind::kData) {
#if DNNL_VERSION_MAJOR >= 3
    const Data::primitive_desc data(engine, kDirect, x, w, y, strides, pads, pads, forward,
                                    attributes);
#else
    const Data::primitive_desc data(Data::desc(kDirect, x, w, y, strides, pads, pads), attributes,
                                    engine, forward);
#endif
    source_desc_ = y;
    result_desc_ = x;
    weights_desc_ = data.weights_desc();
    keep<Data>(data);
  } else {
#if DNNL_VERSION_MAJOR >= 3
    const Weights::primitive_desc weights(engine, kDirect, x, w, y, strides, pads, pads, forward,
                                          attributes);
#else
    const Weights::primitive_desc weights(Weights::desc(kDirect, x, w, y, strides, pads, pads),
                                          attributes, engine, forward);
#endif
    weights_desc_ = weights.diff_weights_desc();
    keep<Weights>(weights);
  }
}

}  // namespace cuthresh::cpu
