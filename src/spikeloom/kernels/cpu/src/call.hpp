// What one call hands over. Python's mirror of these structures is native.py.
#pragma once
#include <cstdint>

enum Kind : int32_t { LIF, CUBA_LIF, ALIF, LI, TERNARY_LIF, TERNARY_SPIKE };
enum Reset : int32_t { HARD, SOFT, NONE };
enum Dtype : int32_t { FLOAT32, BFLOAT16 };
// What the forward keeps for the backward: nothing (it runs again), h, or h - threshold as bfloat16.
enum Trace : int32_t { NOTHING, POTENTIAL, ROUNDED };
enum Curve : int32_t {
  ARCTAN, SIGMOID, TRIANGLE, RECTANGLE, FAST_SIGMOID, GAUSSIAN, MULTI_GAUSSIAN, EXPONENTIAL,
  STRAIGHT_THROUGH, DSPIKE
};

// A number, or values: neuron m has data[(m / inner) % count].
struct Value {
  const float* data;
  int64_t inner, count;
  float* grad;  // float[1] if count is 1, else float[neurons]; null: not wanted
  float number;
};

struct Leak {
  Value keep;
  float gain;  // with a number; else 1 - keep or 1
  int32_t decay_input;
};

struct Call {
  int32_t kind, dtype, trace, curve, reset, detach, strict, threads;
  int64_t steps, neurons, x_stride, grad_stride;  // strides of the time axis, in elements
  float v_reset, alpha, slope, centre, side, stretch;
  Leak leak, second;  // second: synapse (CUBA_LIF) or adaptation (ALIF)
  Value threshold, beta;  // beta: gap to the second threshold (TERNARY_LIF), amplitude (TERNARY_SPIKE)
  const void *x, *v, *w;  // w: the second state; a null state is at rest
  void *out, *v_end, *w_end, *saved;
  const void *grad_out, *grad_v_end, *grad_w_end;
  void *grad_x, *grad_v, *grad_w;
  // Of LIF that notes its rate (p_end is not null): sums before and after; null: 0. All states,
  // v and v_end too, are then float32.
  const float *p, *spike_sum, *gain_sum;
  float *p_end, *spike_sum_end, *gain_sum_end;
  // Of LIF: the sum of h over the steps, and its gradient; null: not wanted.
  float* h_sum;
  const float* grad_h_sum;
};

// One block of neurons through all steps. `sums` has one double for each Value, in the order
// keep, second keep, threshold, beta.
using Block = void (*)(const Call&, int64_t first, int64_t count, float* scratch, double* sums);

struct Variant {
  const char* name;
  Block forward, backward;
};

enum Sums { KEEP, SECOND, THRESHOLD, BETA, VALUES };

constexpr int64_t ALIGN = 64;  // neurons: what blocks start at multiples of
constexpr int64_t ROWS = 16;   // rows of scratch besides the traces

// Floats of scratch for a block of `count` neurons.
inline int64_t scratch_row(int64_t count) { return (count + ALIGN - 1) / ALIGN * ALIGN; }
inline int64_t traces(const Call& c) { return c.kind == CUBA_LIF || c.kind == ALIF ? 2 : 1; }
