// First-spike neurons: forward passes, and learning sample after sample. Compiled once per
// instruction set. Potentials and rates are doubles, weights and thresholds floats, as in the truth.
#include "first_spike.hpp"

#include "first_spike_fire.hpp"

namespace {

int forward(const FirstSpikeCall& c, int64_t first, int64_t count) {
  Room room(c.inputs, c.padded);
  if (!room.block) return 1;
  for (int64_t s = first; s < first + count; ++s) {
    set_limits(room, c.limit + s * c.limit_stride, c.outputs, c.padded);
    const float* times = c.times + s * c.inputs;
    if (c.strict) fire<true>(room, times, c.inputs, c.weight, c.outputs, c.padded);
    else fire<false>(room, times, c.inputs, c.weight, c.outputs, c.padded);
    for (int64_t o = 0; o < c.outputs; ++o) {
      c.fired[s * c.outputs + o] = room.when[o];
      if (c.v) c.v[s * c.outputs + o] = room.kept[o];
    }
  }
  return 0;
}

// The neuron that fires first of some: ties by the larger potential, then by the lower number.
int64_t first_of(const float* t, const double* v, int64_t from, int64_t to) {
  int64_t best = from;
  for (int64_t n = from + 1; n < to; ++n)
    if (t[n] < t[best] || (t[n] == t[best] && v[n] > v[best])) best = n;
  return best;
}

void regulate(const FirstSpikeTraining& c, int64_t y, const float* t, const double* v) {
  const int64_t from = y * c.size + c.spared, to = (y + 1) * c.size, K = to - from;
  if (c.regulation == NONE || K < 2) return;
  const int64_t first = first_of(t, v, from, to);
  const float up = float(c.eta * double(K - 1) / double(K)), down = float(-(c.eta / double(K)));
  for (int64_t n = from; n < to; ++n) {
    c.own[n] = c.own[n] + (n == first ? up : down);
    if (c.regulation == COMPETITION && c.own[n] < c.threshold[n]) c.own[n] = c.threshold[n];
  }
}

// What each neuron learns: rows of doubles that are 0 where it learns nothing.
void decide(const FirstSpikeTraining& c, int64_t y, const float* t, const double* v, double* plus,
            double* minus) {
  const int64_t N = c.classes * c.size, from = y * c.size + c.spared, to = (y + 1) * c.size;
  for (int64_t n = 0; n < c.padded; ++n) plus[n] = minus[n] = 0;
  if (c.rule == R_STDP) {
    const int64_t n = first_of(t, v, 0, N);
    const bool right = n >= from && n < to;
    plus[n] = right ? c.a_plus : c.anti_plus, minus[n] = right ? c.a_minus : c.anti_minus;
    return;
  }
  const double C = double(c.classes), last = double(NEVER) - c.gap / C;
  const auto learns = [&](int64_t n) {
    return !c.compete || n == first_of(t, v, n / c.size * c.size, (n / c.size + 1) * c.size);
  };
  double total = 0;
  int64_t count = 0;
  for (int64_t n = 0; n < N; ++n)
    if (t[n] < NEVER && learns(n)) total += double(t[n]), ++count;
  double mean = count ? total / double(count) : last;
  mean = last < mean ? last : mean;
  const double early = mean - c.gap * (C - 1) / C, late = mean + c.gap / C;
  for (int64_t n = 0; n < N; ++n) {
    if (!learns(n)) continue;
    const bool target = n >= from && n < to;
    const double at = double(t[n]);
    double goal = target ? early : late;
    if (c.rule == SSTDP) goal = target ? (goal < at ? goal : at) : (goal > at ? goal : at);
    plus[n] = (at - goal) * c.a_plus, minus[n] = (at - goal) * c.a_minus;
  }
}

INLINE float bounded(float w, float lo, float hi) { return w < lo ? lo : w > hi ? hi : w; }

// Changes that shrink towards the bounds of a weight.
void damp(float* w, bool causal, double plus, double minus, double lo, double hi, double beta) {
  const double at = double(*w);
  const double change = causal ? plus * exp(-beta * (at - lo) / (hi - lo))
                               : minus * exp(-beta * (hi - at) / (hi - lo));
  *w = *w + float(change);
}

void damp_all(const FirstSpikeTraining& c, const float* times, const float* when,
              const double* plus, const double* minus) {
  for (int64_t n = 0; n < c.classes * c.size; ++n) {
    if (plus[n] == 0 && minus[n] == 0) continue;
    for (int64_t i = 0; i < c.inputs; ++i)
      damp(c.weight + i * c.padded + n, times[i] <= when[n], plus[n], minus[n], c.w_min, c.w_max,
           c.beta);
  }
}

// Changes and bounds weights; sums of their magnitudes go to room.sums.
void change(const FirstSpikeTraining& c, const float* times, Room& room) {
  const Floats lo = float(c.w_min) - Floats{}, hi = float(c.w_max) - Floats{};
  for (int64_t n = 0; n < c.padded; ++n) room.sums[n] = 0;
  for (int64_t i = 0; i < c.inputs; ++i) {
    const Floats time = times[i] - Floats{};
    float* row = c.weight + i * c.padded;
    for (int64_t k = 0; k < c.padded; k += TILE) {
      const Choice causal = time <= load<Floats>(room.when + k);
      Floats w = load<Floats>(row + k);
      w += causal ? load<Floats>(room.plus + k) : load<Floats>(room.minus + k);
      w = w < lo ? lo : w;
      w = w > hi ? hi : w;
      store(row + k, w);
      const Floats size = w < 0.0f ? -w : w;
      store(room.sums + k, load<Doubles>(room.sums + k) + wide(size));
    }
  }
}

void rescale(const FirstSpikeTraining& c, Room& room) {
  const int64_t N = c.classes * c.size;
  for (int64_t n = 0; n < c.padded; ++n)
    room.sums[n] = n < N && room.sums[n] > 0 ? double(c.total[n]) / room.sums[n] : 1;
  for (int64_t i = 0; i < c.inputs; ++i) {
    float* row = c.weight + i * c.padded;
    for (int64_t k = 0; k < c.padded; k += TILE) {
      const Doubles w = wide(load<Floats>(row + k)) * load<Doubles>(room.sums + k);
      store(row + k, __builtin_convertvector(w, Floats));
    }
  }
}

void learn_one(const FirstSpikeTraining& c, int64_t s, Room& room) {
  const int64_t N = c.classes * c.size, y = c.y[s];
  const float* times = c.times + s * c.inputs;
  set_limits(room, c.regulation == NEURON ? c.own : c.threshold, N, c.padded);
  if (c.regulation == COMPETITION)
    for (int64_t n = y * c.size + c.spared; n < (y + 1) * c.size; ++n) room.limit[n] = c.own[n];
  const uint8_t* gone = c.dropped ? c.dropped + s * N : nullptr;
  for (int64_t n = 0; gone && n < N; ++n)
    if (gone[n]) room.limit[n] = INFINITY;
  fire<true>(room, times, c.inputs, c.weight, N, c.padded);
  for (int64_t n = 0; gone && n < N; ++n)
    if (gone[n]) room.kept[n] = -INFINITY;
  for (int64_t n = 0; n < N; ++n) c.fired[s * N + n] = room.when[n], c.v[s * N + n] = room.kept[n];
  regulate(c, y, room.when, room.kept);
  double *plus = room.v, *minus = room.limit;  // both are free by now
  decide(c, y, room.when, room.kept, plus, minus);
  if (c.damped) damp_all(c, times, room.when, plus, minus);
  for (int64_t n = 0; n < c.padded; ++n) {
    room.plus[n] = c.damped ? 0 : float(plus[n]);
    room.minus[n] = c.damped ? 0 : float(minus[n]);
  }
  change(c, times, room);
  if (c.total) rescale(c, room);
}

int learn(const FirstSpikeTraining& c) {
  Room room(c.inputs, c.padded);
  if (!room.block) return 1;
  for (int64_t s = 0; s < c.samples; ++s) learn_one(c, s, room);
  return 0;
}

// The filter that wins a patch, and when; -1 if none fires.
int64_t first_filter(const FilterTraining& c, const float* times, Room& room, float* when) {
  int64_t best = -1;
  const int64_t n = sorted(times, c.inputs, room);
  set_limits(room, c.threshold, c.filters, c.padded);
  integrate<false>(room, n, c.weight, c.padded, [&](float time) {
    for (int64_t f = 0; f < c.filters; ++f)
      if (room.v[f] >= room.limit[f] && (best < 0 || room.v[f] > room.v[best])) best = f;
    *when = time;
    return true;
  });
  return best;
}

int filters(const FilterTraining& c) {
  Room room(c.inputs, c.padded);
  if (!room.block) return 1;
  const float others = float(-(c.eta / double(c.filters > 1 ? c.filters - 1 : 1)));
  for (int64_t s = 0; s < c.samples; ++s) {
    const float* times = c.times + s * c.inputs;
    float when = NEVER;
    const int64_t best = c.winner[s] = first_filter(c, times, room, &when);
    if (best < 0) continue;
    for (int64_t i = 0; i < c.inputs; ++i) {
      float* w = c.weight + i * c.padded + best;
      damp(w, times[i] <= when, c.rate, -c.rate, 0.0, 1.0, 1.0);
      *w = bounded(*w, 0.0f, 1.0f);
    }
    const float move = float(c.eta * (double(when) - c.goal)), least = float(c.least);
    for (int64_t f = 0; f < c.filters; ++f) {
      c.threshold[f] = c.threshold[f] - move;
      c.threshold[f] = c.threshold[f] + (f == best ? float(c.eta) : others);
      if (c.threshold[f] < least) c.threshold[f] = least;
    }
  }
  return 0;
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(first_spike_, name)
extern const FirstSpikeVariant VARIANT(ISA);
const FirstSpikeVariant VARIANT(ISA) = {TEXT(ISA), forward, learn, filters};
