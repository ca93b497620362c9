// Double-exponential neurons and the gradients of their spike times, in the operations and the
// order of functional/neurons/timed.py. Compiled once per instruction set.
#include "timed.hpp"

#include "cell.hpp"
#include "lanes.hpp"

namespace {

// NaN stays NaN, as in torch.clamp.
INLINE vf clamped(vf a, float most) {
  a = pick(a < 0.0f, vf{}, a);
  return pick(a > most, all(most), a);
}

INLINE vf where(vi mask, vf yes, vf no) { return pick(mask, yes, no); }

inline void clear(float* row, int64_t length) {
  for (int64_t i = 0; i < length; ++i) row[i] = 0;
}

// A block of a state into a row, or out of it.
inline void load(float* row, const float* state, int64_t first, int64_t count) {
  if (state)
    for (int64_t i = 0; i < count; ++i) row[i] = state[first + i];
}
inline void store(const float* row, float* state, int64_t first, int64_t count) {
  if (state)
    for (int64_t i = 0; i < count; ++i) state[first + i] = row[i];
}

template <bool EACH>
void forward_as(const TimedCall& c, int64_t first, int64_t count, float* scratch) {
  Rows rows{scratch, scratch_row(count)};
  const Lane threshold = spread(c.threshold, first, count, rows);
  float *a_row = rows.take(), *b_row = rows.take();
  clear(a_row, 2 * rows.length);
  load(a_row, c.a, first, count);
  load(b_row, c.b, first, count);
  for (int64_t t = 0; t < c.steps; ++t) {
    const float* x = c.x + t * c.x_stride + first;
    float* out = c.out + t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf in = get(x + i, left);
      vf a = c.keep_m * (get(a_row + i) + in), b = c.keep_s * (get(b_row + i) + in);
      vf h = c.gain * (a - b), theta = at<EACH>(threshold, i);
      vi fired = c.strict ? h > theta : h >= theta;
      put(out + i, where(fired, all(1.0f), vf{}), left);
      put(a_row + i, where(fired, vf{}, a));
      put(b_row + i, where(fired, vf{}, b));
    });
  }
  store(a_row, c.a_end, first, count);
  store(b_row, c.b_end, first, count);
}

// The slopes at spikes, two rows a step; -1 where there is none, as slopes are never negative.
template <bool EACH>
void slopes(const TimedCall& c, int64_t first, int64_t count, const Lane& threshold, Rows& rows,
            float* found) {
  float *a_row = rows.take(), *b_row = rows.take(), *q_row = rows.take(), *h_row = rows.take();
  clear(a_row, 4 * rows.length);
  for (int64_t t = 0; t < c.steps; ++t) {
    const float* x = c.x + t * c.x_stride + first;
    float *per_du = found + 2 * t * rows.length, *per_q = per_du + rows.length;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf in = get(x + i, left);
      vf a = c.keep_m * (get(a_row + i) + in), b = c.keep_s * (get(b_row + i) + in);
      vf q = c.keep_g * (get(q_row + i) + in), h = c.gain * (a - b);
      vi fired = h >= at<EACH>(threshold, i);
      put(per_du + i, where(fired, clamped(1.0f / (h - get(h_row + i)), c.clip), all(-1.0f)));
      put(per_q + i, clamped(1.0f / q, c.largest));
      put(a_row + i, where(fired, vf{}, a));
      put(b_row + i, where(fired, vf{}, b));
      put(q_row + i, where(fired, vf{}, q));
      put(h_row + i, where(fired, vf{}, h));
    });
  }
}

template <bool EACH>
void backward_as(const TimedCall& c, int64_t first, int64_t count, float* scratch) {
  Rows rows{scratch, scratch_row(count)};
  const Lane threshold = spread(c.threshold, first, count, rows);
  float *m_row = rows.take(), *s_row = rows.take(), *i_row = rows.take();
  clear(m_row, 3 * rows.length);
  float* found = scratch + TIMED_ROWS * rows.length;
  slopes<EACH>(c, first, count, threshold, rows, found);
  for (int64_t t = c.steps - 1; t >= 0; --t) {
    const float* g_out = c.grad_out + t * c.grad_stride + first;
    const float *per_du = found + 2 * t * rows.length, *per_q = per_du + rows.length;
    float* g_x = c.grad_x ? c.grad_x + t * c.neurons + first : nullptr;
    float* g_link = c.grad_link ? c.grad_link + t * c.neurons + first : nullptr;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf g = get(g_out + i, left), per = get(per_du + i);
      vi fired = ~(per < 0.0f);
      vf w = c.gain * (g * per);
      vf m = c.keep_m * where(fired, w, get(m_row + i));
      vf s = c.keep_s * where(fired, w, get(s_row + i));
      vf in = c.keep_g * where(fired, g * get(per_q + i), get(i_row + i));
      put(m_row + i, m);
      put(s_row + i, s);
      put(i_row + i, in);
      if (g_x) put(g_x + i, m - s, left);
      if (g_link) put(g_link + i, in, left);
    });
  }
}

void forward(const TimedCall& c, int64_t first, int64_t count, float* scratch) {
  if (per_neuron(c.threshold)) forward_as<true>(c, first, count, scratch);
  else forward_as<false>(c, first, count, scratch);
}
void backward(const TimedCall& c, int64_t first, int64_t count, float* scratch) {
  if (per_neuron(c.threshold)) backward_as<true>(c, first, count, scratch);
  else backward_as<false>(c, first, count, scratch);
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(timed_, name)
extern const TimedVariant VARIANT(ISA);
const TimedVariant VARIANT(ISA) = {TEXT(ISA), forward, backward};
