// A network that answers to single events, in the operations and the order of functional/events.
// Python's mirror is in events.py. Neurons are numbered place by place: place C + channel.
#pragma once
#include <cstdint>

enum HopKind : int32_t { WEIGHTS = 0, MIXING = 1, POOL = 2 };
enum ResetKind : int32_t { HARD = 0, SOFT = 1, KEPT = 2 };

struct EventHop {
  int32_t kind;
  int64_t in_channels, in_width, out_channels, out_height, out_width;
  int64_t kernel[2], stride[2], padding[2], dilation[2];
  int64_t group, width, first;  // inputs of a group, outputs of a group, channel of output 0
  double scale;
  const void* weights;      // rows of what one input and tap add; mixing: rows of what one place adds
  const int64_t* synapses;  // of each row: weights that are not 0
};

struct EventConnection {
  int32_t source, target;  // 0 is the input
  int64_t delay, count;
  const EventHop* hops;
};

struct EventPopulation {
  int64_t channels, places;
  int32_t reset, strict, fires, wakes;  // wakes: whether any neuron may ever fire in silence
  double v_reset, rest;
  const void *keep, *gain, *threshold, *bias;
};

struct EventsCall {
  int32_t wide, drawn;  // float64; arrivals in drawn order
  int64_t in_channels, populations, connections, steps;  // steps < 0: no end
  uint64_t seed, late_seed;
  double late;
  int64_t most;
  const EventPopulation* population;
  const EventConnection* connection;
};

// Where a population hears: currents, and the places that something reached.
template <class T>
struct Hearing {
  T* current;
  uint8_t* touched;  // of each place
  int64_t* places;   // those that are touched
  int64_t count, channels;
};

struct Operations {
  int64_t accumulates, multiply_accumulates;
};

// Values of all neurons of a population.
template <class T>
struct Neurons {
  const T *keep, *gain, *threshold, *bias;
  T v_reset, rest;
  int32_t reset, strict;
  int64_t channels;
  T *v, *current;
};

template <class T>
struct EventsKernel {
  // Bring a value over hops to their end.
  void (*deliver)(const EventHop* hops, int64_t count, int64_t place, int64_t channel, T value,
                  bool unit, Hearing<T>& to, Operations& done);
  // Bring a place to a step; the numbers of the neurons that fire, and how many.
  int64_t (*decide)(const Neurons<T>& n, int64_t place, int64_t last, int64_t time, int64_t* fired);
};

struct EventsVariant {
  const char* name;
  EventsKernel<double> wide;
  EventsKernel<float> narrow;
};

namespace {

template <class T>
inline T charged(const Neurons<T>& n, int64_t i, T v, T x) {
  if (n.rest != 0) return n.rest + n.keep[i] * (v - n.rest) + n.gain[i] * x;
  return n.keep[i] * v + n.gain[i] * x;
}

template <class T>
inline bool fires(const Neurons<T>& n, int64_t i, T h) {
  return n.strict ? h > n.threshold[i] : h >= n.threshold[i];
}

template <class T>
inline T after_spike(const Neurons<T>& n, int64_t i, T h) {
  return n.reset == HARD ? n.v_reset : n.reset == SOFT ? h - n.threshold[i] : h;
}

}  // namespace
