// What calls of synapses with decays of their own hand over. Python's mirror is in synapses.py.
//
// Matrices are [rows, padded]: what is summed over, or runs along time, lies in the rows; the lanes
// of vectors lie side by side, padded with zeros to a multiple of PADDING. Numbers are floats, or
// doubles if `wide`. Sequences have strides of time and samples, in elements, and dense samples.
#pragma once
#include <cstdint>

struct Sequence {
  void* data;
  int64_t time, sample;
};

// Filters x and sums it up: y_l = sum_r w_rl e_rl, e = keep e + x_r; or the gradients of w and keep.
struct SynapsesCall {
  int32_t threads, wide, reverse, unused;
  int64_t steps, batch, rows, lanes, padded;
  Sequence x, y;              // [T, N, rows], [T, N, lanes]; of gradients y is given
  const void *weight, *keep;  // [rows, padded]
  const void* state;          // [N, rows, padded] currents before the first step; null: none
  void* last;                 // and after the last; null: not wanted
  void *grad_weight, *grad_keep;  // [rows, padded]
};

// A current of spikes.
struct JumpCall {
  const void* keep;   // [padded]; null: there is no such current
  const void* state;  // [N, padded], null at rest
  void* last;         // [N, padded]
  double amount;
};

// Neurons that hear each other's spikes through such synapses, forward and back.
struct SpikingCall {
  int32_t threads, wide, strict, detach;
  int64_t steps, batch, width, padded;
  double threshold;
  Sequence x, spike, h;       // backward: gradient of spikes, gradient of x, slope
  const void *weight, *keep;  // [width, padded]; null: none. Rows are heard; backward: they hear
  const void *synapses, *first;  // [N, width, padded], [N, padded] before the first step, or null
  void* synapses_last;
  JumpCall jumps[2];
};

constexpr int64_t PADDING = 16;
constexpr int64_t CHUNK = 60;  // rows that a task of gradients takes

// Which lanes a task takes; no sum depends on it.
struct Cut {
  int64_t vectors, group;  // of all lanes, of a task
  int64_t groups() const { return (vectors + group - 1) / group; }
};

using SynapsesTask = void (*)(const SynapsesCall&, const Cut&, int64_t task, float* scratch);
using SpikingTask = void (*)(const SpikingCall&, int64_t sample, float* scratch);

struct SynapsesVariant {
  const char* name;
  int64_t lanes;  // floats of a vector
  SynapsesTask sums[2], gradients[2];  // of floats, of doubles
  SpikingTask spikes[2], errors[2];
};
