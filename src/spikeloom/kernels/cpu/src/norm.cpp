// Batch norm and the LIF that follows, a block of neurons through all steps at a time. Compiled once
// per instruction set. The norm's output is never stored: it is scale x + offset wherever needed.
#include "norm.hpp"

#include "back.hpp"
#include "cell.hpp"
#include "lanes.hpp"
#include "rates.hpp"

namespace {

typedef double vd __attribute__((vector_size(8 * LANES)));
constexpr int64_t BEYOND_CACHE = 8 << 20;  // bytes of one sequence

inline bool streams(const Call& c, const void* base, int64_t size) {
  bool aligned = (uintptr_t)base % 64 == 0 && c.neurons * size % 64 == 0;
  return aligned && c.steps * c.neurons * size >= BEYOND_CACHE;
}

// Calls f(at, channel, length) for runs of a block in which the channel, or the run of channels
// that follow each other, is one.
template <class F>
INLINE void each_run(const NormCall& n, int64_t first, int64_t count, F&& f) {
  const bool fastest = n.inner == 1;
  const int64_t span = fastest ? n.channels : n.inner;
  int64_t channel = fastest ? 0 : first / n.inner % n.channels, skip = first % span;
  for (int64_t i = 0; i < count; skip = 0) {
    const int64_t length = span - skip < count - i ? span - skip : count - i;
    f(i, fastest ? skip : channel, length);
    i += length;
    if (!fastest) channel = channel + 1 == n.channels ? 0 : channel + 1;
  }
}

// A number a channel as a row: one a neuron.
inline const float* spread_channels(const NormCall& n, const float* numbers, int64_t first,
                                    int64_t count, Rows& rows) {
  float* row = rows.take();
  each_run(n, first, count, [&](int64_t i, int64_t channel, int64_t length) {
    if (n.inner == 1) __builtin_memcpy(row + i, numbers + channel, length * sizeof(float));
    else each_vector(length, [&](int64_t j, int64_t left) __attribute__((always_inline)) {
      put(row + i + j, all(numbers[channel]), left);
    });
  });
  for (int64_t i = count; i < rows.length; ++i) row[i] = 0;
  return row;
}

// A row of sums, one a neuron, and where they go in the end: one a channel.
struct ChannelSums {
  float* row;
  explicit ChannelSums(Rows& rows) : row(rows.take()) {
    for (int64_t i = 0; i < rows.length; ++i) row[i] = 0;
  }
  INLINE void add(int64_t i, vf a) const { put(row + i, get(row + i) + a); }

  void finish(const NormCall& n, int64_t first, int64_t count, double* sums) const {
    each_run(n, first, count, [&](int64_t i, int64_t channel, int64_t length) {
      vd total{};
      each_vector(length, [&](int64_t j, int64_t left) __attribute__((always_inline)) {
        vd part = __builtin_convertvector(get(row + i + j, left), vd);
        if (n.inner == 1) {
          double* to = sums + channel + j;
          place(to, fetch<vd>(to, left) + part, left);
        } else {
          total = total + part;
        }
      });
      if (n.inner != 1)
        for (int lane = 0; lane < LANES; ++lane) sums[channel] += total[lane];
    });
  }
};

template <class IO>
void moments_as(const NormCall& n, const float* numbers, int64_t first, int64_t count,
                float* scratch, double* sums) {
  Rows rows{scratch, scratch_row(count)};
  const float* shift = spread_channels(n, numbers, first, count, rows);
  const ChannelSums sum(rows), square(rows);
  const Call& c = n.neuron;
  const int64_t steps = c.x_stride == 0 ? 1 : c.steps;
  for (int64_t t = 0; t < steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      __builtin_prefetch(x + c.x_stride + i);
      vf d = get(x + i, left) - get(shift + i);
      sum.add(i, d);
      square.add(i, d * d);
    });
  }
  sum.finish(n, first, count, sums);
  square.finish(n, first, count, sums + n.channels);
}

template <class IO, bool EACH>
void forward_as(const NormCall& n, const float* numbers, int64_t first, int64_t count,
                float* scratch, double*) {
  const Call& c = n.neuron;
  Rows rows{scratch, scratch_row(count)};
  const Cell<LIF, EACH> cell(c, first, count, rows);
  const float* scale = spread_channels(n, numbers, first, count, rows);
  const float* offset = spread_channels(n, numbers + n.channels, first, count, rows);
  float* v_row = rows.take();
  load_state<IO>(c.v, cell.rest, first, count, v_row);
  const bool past = streams(c, c.out, sizeof(IO));
  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    IO* out = (IO*)c.out + t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u{};
      __builtin_prefetch(x + c.x_stride + i);
      vf y = get(x + i, left) * get(scale + i) + get(offset + i);
      put(out + i, cell.step(y, v, w, h, u, i), left, past);
      put(v_row + i, v);
    });
  }
  store_state<IO>(c.v_end, v_row, first, count);
  settle();
}

template <class IO, bool EACH>
void rates_as(const NormCall& n, const float* numbers, int64_t first, int64_t count, float* scratch,
              double*) {
  const Call& c = n.neuron;
  Rows rows{scratch, scratch_row(count)};
  const Cell<LIF, EACH> cell(c, first, count, rows);
  const Rates<EACH> rates(c, cell, first, count, rows);
  const float* scale = spread_channels(n, numbers, first, count, rows);
  const float* offset = spread_channels(n, numbers + n.channels, first, count, rows);
  float* v_row = rows.take();
  load_state<float>(c.v, cell.rest, first, count, v_row);
  const bool past = streams(c, c.out, sizeof(IO));
  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    IO* out = (IO*)c.out + t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u;
      __builtin_prefetch(x + c.x_stride + i);
      vf s = cell.step(get(x + i, left) * get(scale + i) + get(offset + i), v, w, h, u, i);
      rates.note(h, u, s, i);
      put(out + i, s, left, past);
      put(v_row + i, v);
    });
  }
  store_state<float>(c.v_end, v_row, first, count);
  rates.finish(first, count);
  settle();
}

// Sums over the steps of the gradient of one Value, a number a neuron.
struct ValueSums {
  float* row = nullptr;
  ValueSums(const Value& value, Rows& rows) {
    if (value.grad) row = ChannelSums(rows).row;
  }
  INLINE void add(int64_t i, vf a) const {
    if (row) put(row + i, get(row + i) + a);
  }
  void finish(const Value& value, int64_t first, int64_t count, double* sum) const {
    if (!row) return;
    for (int64_t i = 0; i < count; ++i) {
      if (per_neuron(value)) value.grad[first + i] = row[i];
      else *sum += row[i];
    }
  }
};

// Potentials before the reset, gone through again.
template <class IO, bool EACH>
const float* potentials(const Call& c, const Cell<LIF, EACH>& cell, const float* scale,
                        const float* offset, int64_t first, int64_t count, float* v_row,
                        Rows& rows) {
  float* h_rows = rows.take(c.steps);
  load_state<IO>(c.v, cell.rest, first, count, v_row);
  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    float* h_row = h_rows + t * rows.length;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u{};
      __builtin_prefetch(x + c.x_stride + i);
      cell.step(get(x + i, left) * get(scale + i) + get(offset + i), v, w, h, u, i);
      put(h_row + i, h);
      put(v_row + i, v);
    });
  }
  return h_rows;
}

template <class IO, bool EACH>
void backward_as(const NormCall& n, const float* numbers, int64_t first, int64_t count,
                 float* scratch, double* sums) {
  const Call& c = n.neuron;
  const int64_t C = n.channels;
  Rows rows{scratch, scratch_row(count)};
  const Cell<LIF, EACH> cell(c, first, count, rows);
  const ValueSums keep(c.leak.keep, rows), threshold(c.threshold, rows);
  const float* scale = spread_channels(n, numbers, first, count, rows);
  const float* offset = spread_channels(n, numbers + C, first, count, rows);
  const float* mean = spread_channels(n, numbers + 2 * C, first, count, rows);
  const ChannelSums sum(rows), product(rows);
  float* gv_row = rows.take();
  const float* h_rows = potentials<IO>(c, cell, scale, offset, first, count, gv_row, rows);
  load_state<IO>(c.grad_v_end, 0.0f, first, count, gv_row);

  for (int64_t t = c.steps - 1; t >= 0; --t) {
    const Reach reach(c, t);
    const float *h_row = h_rows + t * rows.length, *h_last = h_row - rows.length;
    const IO* g_out = c.grad_out ? (const IO*)c.grad_out + t * c.grad_stride + first : nullptr;
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    IO* g_x = c.grad_x ? (IO*)c.grad_x + t * c.neurons + first : nullptr;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf gs = g_out ? get(g_out + i, left) : vf{}, g_crossed;
      if (g_out) __builtin_prefetch(g_out - c.grad_stride + i);
      vf gh = before_reset(cell, reach, get(h_row + i), gs, get(gv_row + i), g_crossed, i);
      vf gy = at<EACH>(cell.gain, i) * gh, at_x = get(x + i, left);
      threshold.add(i, g_crossed);
      if (keep.row) {
        vf v = t == 0 ? (c.v ? get((const IO*)c.v + first + i, left) : all(cell.rest)) : vf{};
        if (t > 0) {
          vf h = get(h_last + i), crossed = at<EACH>(cell.threshold, i);
          v = cell.after(h, cell.fire(h - crossed), crossed);
        }
        vf g = gh * (cell.rest == 0.0f ? v : v - cell.rest);
        if (c.leak.decay_input) g = g - gh * (at_x * get(scale + i) + get(offset + i));
        keep.add(i, g);
      }
      put(gv_row + i, at<EACH>(cell.keep, i) * gh);
      sum.add(i, gy);
      product.add(i, gy * (at_x - get(mean + i)));
      if (g_x) put(g_x + i, n.batch ? gy : gy * get(scale + i), left);
    });
  }
  store_state<IO>(c.grad_v, gv_row, first, count);
  sum.finish(n, first, count, sums);
  product.finish(n, first, count, sums + C);
  keep.finish(c.leak.keep, first, count, sums + 2 * C + KEEP);
  threshold.finish(c.threshold, first, count, sums + 2 * C + THRESHOLD);
}

template <class IO>
void through_as(const NormCall& n, const float* numbers, int64_t first, int64_t count,
                float* scratch, double*) {
  const Call& c = n.neuron;
  const int64_t C = n.channels;
  Rows rows{scratch, scratch_row(count)};
  const float* scale = spread_channels(n, numbers, first, count, rows);
  const float* mean = spread_channels(n, numbers + C, first, count, rows);
  const float* slope = spread_channels(n, numbers + 2 * C, first, count, rows);
  const float* drift = spread_channels(n, numbers + 3 * C, first, count, rows);
  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    IO* g = (IO*)c.grad_x + t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      __builtin_prefetch(x + c.x_stride + i);
      __builtin_prefetch(g + c.neurons + i);
      vf bent = (get(x + i, left) - get(mean + i)) * get(slope + i);
      put(g + i, get(scale + i) * get(g + i, left) - bent - get(drift + i), left);
    });
  }
}

inline bool each(const Call& c) { return per_neuron(c.leak.keep) || per_neuron(c.threshold); }

void moments(const NormCall& n, const float* numbers, int64_t first, int64_t count, float* scratch,
             double* sums) {
  auto run = n.neuron.dtype == BFLOAT16 ? moments_as<bf16> : moments_as<float>;
  run(n, numbers, first, count, scratch, sums);
}
void forward(const NormCall& n, const float* numbers, int64_t first, int64_t count, float* scratch,
             double* sums) {
  const bool half = n.neuron.dtype == BFLOAT16;
  auto run = each(n.neuron) ? (half ? forward_as<bf16, true> : forward_as<float, true>)
                            : (half ? forward_as<bf16, false> : forward_as<float, false>);
  if (n.neuron.p_end)
    run = each(n.neuron) ? (half ? rates_as<bf16, true> : rates_as<float, true>)
                         : (half ? rates_as<bf16, false> : rates_as<float, false>);
  run(n, numbers, first, count, scratch, sums);
}
void backward(const NormCall& n, const float* numbers, int64_t first, int64_t count, float* scratch,
              double* sums) {
  const bool half = n.neuron.dtype == BFLOAT16;
  auto run = each(n.neuron) ? (half ? backward_as<bf16, true> : backward_as<float, true>)
                            : (half ? backward_as<bf16, false> : backward_as<float, false>);
  run(n, numbers, first, count, scratch, sums);
}
void through(const NormCall& n, const float* numbers, int64_t first, int64_t count, float* scratch,
             double* sums) {
  auto run = n.neuron.dtype == BFLOAT16 ? through_as<bf16> : through_as<float>;
  run(n, numbers, first, count, scratch, sums);
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(norm_, name)
extern const NormVariant VARIANT(ISA);
const NormVariant VARIANT(ISA) = {TEXT(ISA), moments, forward, backward, through};
