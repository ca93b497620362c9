// What a call of a batch norm before a LIF hands over. Python's mirror is in norm_ops.py.
#pragma once
#include "call.hpp"

struct NormCall {
  Call neuron;              // x and grad_x are those of the norm
  int64_t channels, inner;  // neuron m belongs to channel (m / inner) % channels
  float eps;
  int32_t batch;  // mean and variance are those of x, else given
  const float *weight, *bias;  // [channels]; null: 1 and 0
  float *mean, *var;
  float *grad_weight, *grad_bias;  // null: not wanted
};

// One block of neurons through all steps. `numbers` are rows of [channels] that the pass reads;
// `sums` holds two numbers a channel, then one for each Value of the neuron.
using NormBlock = void (*)(const NormCall&, const float* numbers, int64_t first, int64_t count,
                           float* scratch, double* sums);

struct NormVariant {
  const char* name;
  NormBlock moments;   // shift -> sums of x - shift and of its square
  NormBlock forward;   // scale, offset
  NormBlock backward;  // scale, offset, mean -> sums of g and g (x - mean), g the norm's gradient
  NormBlock through;   // scale, mean, slope, drift: scale g - slope (x - mean) - drift, in place
};
