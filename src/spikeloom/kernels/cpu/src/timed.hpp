// What a call of the neurons with spike-time gradients hands over. Python's mirror is in timed.py.
#pragma once
#include <cstdint>

#include "call.hpp"

struct TimedCall {
  int32_t threads, strict;
  int64_t steps, neurons, x_stride, grad_stride;  // strides of the time axis, in elements
  float keep_m, keep_s, keep_g, gain, clip, largest;
  Value threshold;
  const float *x, *grad_out;
  float *out, *grad_x, *grad_link;  // gradients: null where not wanted
  const float *a, *b;               // traces before the first step: null at rest
  float *a_end, *b_end;             // and after the last: null where not wanted
};

// One block of neurons through all steps.
using TimedBlock = void (*)(const TimedCall&, int64_t first, int64_t count, float* scratch);

struct TimedVariant {
  const char* name;
  TimedBlock forward, backward;
};

constexpr int64_t TIMED_ROWS = 8;  // rows of scratch besides two for each step of the backward
