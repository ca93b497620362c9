// Neurons that fire at most once on inputs that fire at most once, in the operations and the order of
// functional/first_spike. Python's mirror is in first_spike.py. Weights lie in rows of an input each,
// padded to whole tiles of neurons.
#pragma once
#include <cstdint>

enum RuleKind : int32_t { S2_STDP = 0, SSTDP = 1, R_STDP = 2 };
enum RegulationKind : int32_t { NONE = 0, COMPETITION = 1, NEURON = 2 };

// Forward passes of samples that do not know of each other.
struct FirstSpikeCall {
  int32_t threads, strict;
  int64_t samples, inputs, outputs, padded;
  int64_t limit_stride;  // 0: one row of thresholds for all samples
  const float *times, *weight, *limit;
  float* fired;
  double* v;  // may be null
};

// Samples that a layer learns from, one after the other.
struct FirstSpikeTraining {
  int32_t rule, regulation, compete, damped;
  int64_t samples, inputs, classes, size, spared, padded;
  double a_plus, a_minus, anti_plus, anti_minus, gap, eta, w_min, w_max, beta;
  const float* times;
  const int64_t* y;
  const uint8_t* dropped;  // may be null
  float *weight, *threshold, *own;
  const float* total;  // may be null
  float* fired;
  double* v;
};

// Patches that filters learn from, one after the other.
struct FilterTraining {
  int64_t samples, inputs, filters, padded;
  double rate, eta, goal, least;
  const float* times;
  float *weight, *threshold;
  int64_t* winner;
};

struct FirstSpikeVariant {
  const char* name;
  int (*forward)(const FirstSpikeCall& c, int64_t first, int64_t count);  // 0, or 1 without memory
  int (*learn)(const FirstSpikeTraining& c);
  int (*filters)(const FilterTraining& c);
};
