// A recurrent network of excitatory and inhibitory neurons. Python's mirror of these structures is
// ei_network.py.
#pragma once
#include <cstdint>

struct EICall {
  int32_t threads, learns;
  int64_t inputs, neurons, excitatory;  // sources are inputs + neurons
  float k_syn, k_m, k_adapt, resistance, v_rest, v_reset, v_threshold, jump;
  float v_lowest, v_highest, threshold_lowest, threshold_highest;
  float floor, ceiling;
  int64_t ages;                      // length of both tables
  const float *at_pre, *at_post;
  float* weight;                     // [neurons, sources], changed in place
  float *v, *i_syn, *adaptation;     // [neurons]
  int64_t* age;                      // [sources]
  uint8_t* fired;                    // [sources]
  int64_t* counts;                   // [samples, neurons], or [neurons] of a sleep
  uint64_t seed;
  // Awake: probabilities p[t * p_step + n * inputs + i], and the part of T N steps to go through.
  const float* p;
  int64_t steps, samples, p_step, start, stop;
  int64_t skip;  // of a sample's steps, whose spikes do not count
  // Asleep, for at most `stop` steps; ends when both sums are within `tolerance` (< 0: never).
  int64_t number;
  double decay, excited, inhibited, tolerance;
  float noise;
  const double *reference, *shift, *log;  // [neurons, sources]
};

// State of the neurons in rows of `padded` floats, a multiple of 16.
struct EIRows {
  int64_t padded;
  float *v, *i_syn, *adaptation, *drive;
  const float* noise;  // null: none
  uint8_t* spikes;
};

struct EIVariant {
  const char* name;
  void (*neurons)(const EICall&, const EIRows&);
  // A step of drift for `count` synapses, a multiple of 16; the sum of magnitudes in units of 2^-32.
  double (*drift)(int64_t count, double decay, const double* reference, const double* shift,
                  double* log, float* size);
};
