// What a call that shows samples to competing neurons hands over. Python's mirror is in shown.py.
#pragma once
#include <cstdint>

// Rows of weights are inputs; neurons are the lanes, padded with silent ones to a multiple of 16.
struct ShownCall {
  int32_t threads, learns, nearest, one_spike;
  int64_t samples, inputs, padded, steps, refractory, least, most;
  uint64_t seed;
  float keep, rest, reset, threshold, inhibition;
  float theta_step, theta_keep, a_plus, a_minus, keep_plus, keep_minus, low, high;
  double total;
  const float* x;     // [samples, inputs] intensities
  const float* rate;  // [most] probability that an input of intensity 1 fires in a step
  float* w;           // [inputs, padded]
  float* theta;       // [padded]
  float* counts;      // [samples, padded]
};

// Shows samples first .. first + count - 1, one after the other; `scratch` has shown_floats.
using ShownTask = void (*)(const ShownCall&, int64_t first, int64_t count, float* scratch);

struct ShownVariant {
  const char* name;
  ShownTask run;
};

inline int64_t shown_row(int64_t floats) { return (floats + 15) / 16 * 16; }
inline int64_t shown_floats(const ShownCall& c) {
  return 8 * shown_row(c.inputs) + 7 * c.padded;
}
