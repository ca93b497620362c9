// Calls of the kernels that multiply spikes with weights. Python's mirror is products.py.
#pragma once
#include "call.hpp"

// LIF neurons that also hear their own last spikes. One step is rows * width neurons of `neuron`.
struct Recurrent {
  Call neuron;
  int64_t rows, width;
  const float *weight, *spike;  // [width (to), width (from)]; spikes before the first step, or null
  float* spike_end;
  const float* grad_spike_end;
  float* grad_spike;
  uint64_t* bits;  // backward: where all spikes but the last step's go, [steps - 1, rows, words]
};

// out[a] = sum of source[b] over the bits b that are set in row a (+ bias).
struct Gather {
  const uint64_t* bits;
  int64_t rows, words, depth, columns;  // bits [rows, words]; source [depth, columns]
  const float* source;
  int64_t source_row, source_column;  // strides; one of the two is 1
  const float* bias;
  float* out;
  int64_t out_row, out_column;  // strides; one of the two is 1
  int32_t threads;
};

// Floats [rows, columns] to bits [rows, words].
struct Pack {
  const float* from;
  int64_t rows, columns, stride, words;
  uint64_t* bits;
  int32_t threads;
};

// What is compiled once per instruction set: sums of chosen rows ...
struct Sparse {
  const char* name;
  int64_t panel;  // columns of a full panel
  // One panel of columns for some rows; whether all of the source is finite.
  bool (*gather)(const Gather&, int64_t first_column, int64_t first_row, int64_t rows,
                 float* scratch);
  // How many of some rows' numbers are 1, or -1 if there are others than 0 and 1.
  int64_t (*pack)(const Pack&, int64_t first_row, int64_t rows);
};

// ... and recurrence. `dense`: multiply by the spikes instead of choosing rows by them.
struct Recurrence {
  // One panel of the weights, or of their transpose; whether all are finite.
  bool (*panel)(const Recurrent&, bool transposed, int64_t index, float* panel);
  void (*forward)(const Recurrent&, const float* panels, bool dense, int64_t first, int64_t rows,
                  float* scratch);
  void (*backward)(const Recurrent&, const float* forward_panels, const float* panels, bool dense,
                   int64_t first, int64_t rows, float* scratch, double* sums);
};

constexpr int64_t WORD = 64;
constexpr int64_t DEPTH = 512;  // rows of a source that a panel holds: both fit into L2
inline int64_t words_of(int64_t bits) { return (bits + WORD - 1) / WORD; }
