// One step of a neuron on one vector, in the operations and the order of functional/neurons.
#pragma once
#include "call.hpp"
#include "lanes.hpp"

namespace {

// A value for the neurons of a block: one vector for all, or a row of scratch.
struct Lane {
  const float* each = nullptr;
  vf same{};
};

template <bool EACH>
INLINE vf at(const Lane& lane, int64_t i) {
  if constexpr (EACH)
    if (lane.each) return get(lane.each + i);
  return lane.same;
}

inline bool per_neuron(const Value& value) { return value.data && value.count > 1; }
inline float number(const Value& value) { return value.data ? *value.data : value.number; }

// Rows of scratch, handed out in order.
struct Rows {
  float* next;
  int64_t length;
  float* take(int64_t rows = 1) {
    float* row = next;
    next += rows * length;
    return row;
  }
};

inline Lane spread(const Value& value, int64_t first, int64_t count, Rows& rows) {
  if (!per_neuron(value)) return {nullptr, all(number(value))};
  float* row = rows.take();
  int64_t run = first / value.inner % value.count, left = value.inner - first % value.inner;
  for (int64_t i = 0; i < count; ++i) {
    row[i] = value.data[run];
    if (--left == 0) {
      left = value.inner;
      run = run + 1 == value.count ? 0 : run + 1;
    }
  }
  for (int64_t i = count; i < rows.length; ++i) row[i] = 0;
  return {row, vf{}};
}

inline Lane spread_gain(const Leak& leak, const Lane& keep, Rows& rows) {
  if (!leak.keep.data) return {nullptr, all(leak.gain)};
  if (!leak.decay_input) return {nullptr, all(1.0f)};
  if (!keep.each) return {nullptr, 1.0f - keep.same};
  float* row = rows.take();
  for (int64_t i = 0; i < rows.length; ++i) row[i] = 1.0f - keep.each[i];
  return {row, vf{}};
}

template <int K, bool EACH>
struct Cell {
  Lane keep, gain, keep2, gain2, threshold, beta;
  const Call& c;
  float rest;

  Cell(const Call& call, int64_t first, int64_t count, Rows& rows) : c(call) {
    rest = c.reset == HARD ? c.v_reset : 0.0f;
    keep = spread(c.leak.keep, first, count, rows);
    gain = spread_gain(c.leak, keep, rows);
    if constexpr (K == CUBA_LIF || K == ALIF) {
      keep2 = spread(c.second.keep, first, count, rows);
      gain2 = spread_gain(c.second, keep2, rows);
    }
    if constexpr (K != LI) threshold = spread(c.threshold, first, count, rows);
    if constexpr (K == ALIF || K == TERNARY_LIF || K == TERNARY_SPIKE)
      beta = spread(c.beta, first, count, rows);
  }

  INLINE vf charge(vf drive, vf v, int64_t i) const {
    vf k = at<EACH>(keep, i), g = at<EACH>(gain, i);
    if (rest == 0.0f) return k * v + g * drive;
    return rest + k * (v - rest) + g * drive;
  }
  // keep w + gain x, for the second state.
  INLINE vf charge2(vf x, vf w, int64_t i) const {
    return at<EACH>(keep2, i) * w + at<EACH>(gain2, i) * x;
  }
  // The threshold in force while the adaptation is w.
  INLINE vf crossing(vf w, int64_t i) const {
    if constexpr (K == ALIF) return at<EACH>(threshold, i) + at<EACH>(beta, i) * w;
    return at<EACH>(threshold, i);
  }
  INLINE vf fire(vf u) const {
    return pick(c.strict ? u > 0.0f : u >= 0.0f, all(1.0f), vf{});
  }
  INLINE vf after(vf h, vf s, vf crossed) const {
    if (c.reset == SOFT) return h - crossed * s;
    if (c.reset == NONE) return h;
    vf v = h * (1.0f - s);
    return c.v_reset != 0.0f ? v + c.v_reset * s : v;
  }
  // The level of a spike, of which `first` is the step from 0 to 1: up to 2, or down to -1.
  INLINE vf level(vf h, vf u, vf first, int64_t i) const {
    if constexpr (K == TERNARY_LIF) return first + fire(u - at<EACH>(beta, i));
    if constexpr (K == TERNARY_SPIKE) return first - fire(-h - at<EACH>(threshold, i));
    return first;
  }
  INLINE vf after_level(vf h, vf first, vf s, vf crossed, int64_t i) const {
    if constexpr (K == TERNARY_LIF)
      if (c.reset == SOFT) return h - at<EACH>(beta, i) * s;
    if constexpr (K == TERNARY_SPIKE)  // a spike of either sign resets
      return after(h, c.reset == SOFT ? s : 2.0f * first - s, crossed);
    return after(h, first, crossed);
  }
  // Moves v and w on by one step; h and u come out. Returns the output.
  INLINE vf step(vf x, vf& v, vf& w, vf& h, vf& u, int64_t i) const {
    vf drive = x;
    if constexpr (K == CUBA_LIF) drive = w = charge2(x, w, i);
    h = charge(drive, v, i);
    if constexpr (K == LI) return v = h;
    vf crossed = crossing(w, i);
    u = h - crossed;
    vf first = fire(u), s = level(h, u, first, i);
    v = after_level(h, first, s, crossed, i);
    if constexpr (K == ALIF) w = charge2(s, w, i);
    if constexpr (K == TERNARY_SPIKE) return at<EACH>(beta, i) * s;
    return s;
  }
};

// Walks a row of a block vector by vector; the last may be partial.
template <class F>
INLINE void each_vector(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) f(i, (int64_t)LANES);
  if (i < count) f(i, count - i);
}

template <class IO>
inline void load_state(const void* from, float rest, int64_t first, int64_t count, float* row) {
  each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
    put(row + i, from ? get((const IO*)from + first + i, left) : all(rest));
  });
}
template <class IO>
inline void store_state(void* to, const float* row, int64_t first, int64_t count) {
  if (!to) return;
  each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
    put((IO*)to + first + i, get(row + i), left);
  });
}

}  // namespace
