// Neurons over all steps, a block of neurons at a time. Compiled once per instruction set.
#include "call.hpp"
#include "cell.hpp"
#include "curves.hpp"
#include "lanes.hpp"
#include "rates.hpp"

namespace {

// Whether rows of elements of this size may bypass the cache: large enough and aligned.
inline bool streams(const Call& c, const void* base, int64_t size, int64_t limit) {
  bool aligned = (uintptr_t)base % 64 == 0 && c.neurons * size % 64 == 0;
  return aligned && c.steps * c.neurons * size >= limit;
}
constexpr int64_t BEYOND_CACHE = 8 << 20;  // bytes of one sequence

// h - threshold as bfloat16 whose sign tells exactly whether the neuron fired.
INLINE vu signed_bits(vf u) {
  vu bits = rounded(u);
  vi vanished = ((vi)(bits & 0x7fffu) == 0) & (u != 0.0f);
  return vanished ? (bits | 1u) : bits;
}

// Sums over the steps, a number a neuron; no row if they are not wanted.
struct Sum {
  float* row = nullptr;
  Sum(bool wanted, Rows& rows) {
    if (!wanted) return;
    row = rows.take();
    for (int64_t i = 0; i < rows.length; ++i) row[i] = 0;
  }
  INLINE void add(int64_t i, vf a) const { put(row + i, get(row + i) + a); }
};

template <class IO, int K, bool EACH>
void forward_block(const Call& c, int64_t first, int64_t count, float* scratch) {
  Rows rows{scratch, scratch_row(count)};
  const Cell<K, EACH> cell(c, first, count, rows);
  float *v_row = rows.take(), *w_row = rows.take();
  load_state<IO>(c.v, cell.rest, first, count, v_row);
  if constexpr (K == CUBA_LIF || K == ALIF) load_state<IO>(c.w, 0.0f, first, count, w_row);
  const Sum potentials(K == LIF && c.h_sum, rows);
  const bool out_streams = streams(c, c.out, sizeof(IO), BEYOND_CACHE);
  const bool saved_streams =
      streams(c, c.saved, c.trace == ROUNDED ? sizeof(bf16) : sizeof(float), BEYOND_CACHE);

  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    const int64_t row = t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u{};
      if constexpr (K == CUBA_LIF || K == ALIF) w = get(w_row + i);
      vf out = cell.step(get(x + i, left), v, w, h, u, i);
      put((IO*)c.out + row + i, out, left, out_streams);
      if constexpr (K == LIF)
        if (potentials.row) potentials.add(i, h);
      if (c.trace == POTENTIAL) put((float*)c.saved + row + i, h, left, saved_streams);
      if (c.trace == ROUNDED) put_bits((bf16*)c.saved + row + i, signed_bits(u), left, saved_streams);
      put(v_row + i, v);
      if constexpr (K == CUBA_LIF || K == ALIF) put(w_row + i, w);
    });
  }
  store_state<IO>(c.v_end, v_row, first, count);
  if constexpr (K == CUBA_LIF || K == ALIF) store_state<IO>(c.w_end, w_row, first, count);
  if (potentials.row) store_state<float>(c.h_sum, potentials.row, first, count);
  settle();
}

// LIF that notes its rate.
template <class IO, bool EACH>
void rate_block(const Call& c, int64_t first, int64_t count, float* scratch) {
  Rows rows{scratch, scratch_row(count)};
  const Cell<LIF, EACH> cell(c, first, count, rows);
  const Rates<EACH> rates(c, cell, first, count, rows);
  float* v_row = rows.take();
  load_state<float>(c.v, cell.rest, first, count, v_row);
  const bool out_streams = streams(c, c.out, sizeof(IO), BEYOND_CACHE);
  for (int64_t t = 0; t < c.steps; ++t) {
    const IO* x = (const IO*)c.x + t * c.x_stride + first;
    IO* out = (IO*)c.out + t * c.neurons + first;
    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u;
      vf s = cell.step(get(x + i, left), v, w, h, u, i);
      rates.note(h, u, s, i);
      put(out + i, s, left, out_streams);
      put(v_row + i, v);
    });
  }
  store_state<float>(c.v_end, v_row, first, count);
  rates.finish(first, count);
  settle();
}

// What the forward went through, step by step: potentials before the reset, and the second state
// (the current after its step, the adaptation before it).
template <class IO, int K, bool EACH>
struct Past {
  const float *h = nullptr, *w = nullptr;
  const bf16* u = nullptr;
  int64_t stride;

  Past(const Call& c, const Cell<K, EACH>& cell, int64_t first, int64_t count, Rows& rows) {
    if (c.trace != NOTHING) {
      stride = c.neurons;
      if (c.trace == POTENTIAL) h = (const float*)c.saved + first;
      else u = (const bf16*)c.saved + first;
      return;
    }
    stride = rows.length;
    if constexpr (K == LI)
      if (!c.leak.keep.grad) return;
    run_again(c, cell, first, count, rows);
  }

  void run_again(const Call& c, const Cell<K, EACH>& cell, int64_t first, int64_t count,
                 Rows& rows) {
    float *v_row = rows.take(), *w_row = rows.take();
    float *h_rows = rows.take(c.steps), *w_rows = traces(c) == 2 ? rows.take(c.steps) : nullptr;
    load_state<IO>(c.v, cell.rest, first, count, v_row);
    if (w_rows) load_state<IO>(c.w, 0.0f, first, count, w_row);
    for (int64_t t = 0; t < c.steps; ++t) {
      const IO* x = (const IO*)c.x + t * c.x_stride + first;
      each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
        vf v = get(v_row + i), w{}, h, u;
        __builtin_prefetch(x + c.x_stride + i);
        if constexpr (K == CUBA_LIF || K == ALIF) w = get(w_row + i);
        if constexpr (K == ALIF) put(w_rows + t * stride + i, w);
        cell.step(get(x + i, left), v, w, h, u, i);
        if constexpr (K == CUBA_LIF) put(w_rows + t * stride + i, w);
        put(h_rows + t * stride + i, h);
        put(v_row + i, v);
        if constexpr (K == CUBA_LIF || K == ALIF) put(w_row + i, w);
      });
    }
    h = h_rows;
    w = w_rows;
  }

  INLINE vf second(int64_t t, int64_t i, int64_t left) const {
    return get(w + t * stride + i, left);
  }
  // Potential and potential above threshold at step t.
  INLINE void read(const Cell<K, EACH>& cell, int64_t t, int64_t i, int64_t left, vf& at_h, vf& at_u,
                   vf& crossed) const {
    vf adaptation{};
    if constexpr (K == ALIF) adaptation = second(t, i, left);
    crossed = cell.crossing(adaptation, i);
    if (u) {
      at_u = get(u + t * stride + i, left);
      at_h = at_u + crossed;
    } else {
      at_h = get(h + t * stride + i, left);
      at_u = at_h - crossed;
    }
  }
  // Potential that step t started from.
  INLINE vf before(const Call& c, const Cell<K, EACH>& cell, int64_t t, int64_t first, int64_t i,
                   int64_t left) const {
    if (t == 0) return c.v ? get((const IO*)c.v + first + i, left) : all(cell.rest);
    if constexpr (K == LI) return get(h + (t - 1) * stride + i, left);
    vf at_h, at_u, crossed;
    read(cell, t - 1, i, left, at_h, at_u, crossed);
    vf fired = cell.fire(at_u);
    return cell.after_level(at_h, fired, cell.level(at_h, at_u, fired, i), crossed, i);
  }
};

// The sum over the steps of the gradient of one Value, a number a neuron.
struct Gradient : Sum {
  Gradient(const Value& value, Rows& rows) : Sum(value.grad, rows) {}
  void finish(const Value& value, int64_t first, int64_t count, double* sum) const {
    if (!row) return;
    if (per_neuron(value)) {
      for (int64_t i = 0; i < count; ++i) value.grad[first + i] = row[i];
      return;
    }
    double total = 0;
    for (int64_t i = 0; i < count; ++i) total += row[i];
    *sum = total;
  }
};

template <class IO, int K, bool EACH>
void backward_block(const Call& c, int64_t first, int64_t count, float* scratch, double* sums) {
  constexpr bool SECOND_STATE = K == CUBA_LIF || K == ALIF;
  Rows rows{scratch, scratch_row(count)};
  const Cell<K, EACH> cell(c, first, count, rows);
  const Gradient keep(c.leak.keep, rows), keep2(c.second.keep, rows);
  const Gradient threshold(c.threshold, rows), beta(c.beta, rows);
  float *gv_row = rows.take(), *gw_row = rows.take();
  load_state<IO>(c.grad_v_end, 0.0f, first, count, gv_row);
  if constexpr (SECOND_STATE) load_state<IO>(c.grad_w_end, 0.0f, first, count, gw_row);
  const Past<IO, K, EACH> past(c, cell, first, count, rows);
  const bool x_streams = streams(c, c.grad_x, sizeof(IO), BEYOND_CACHE);
  const bool resets = c.reset != NONE && !c.detach;
  float* gh_row = nullptr;
  if constexpr (K == LIF)
    if (c.grad_h_sum) load_state<float>(c.grad_h_sum, 0.0f, first, count, gh_row = rows.take());

  for (int64_t t = c.steps - 1; t >= 0; --t) {
    // Autograd adds nothing where no path leads: 0 times an infinite potential must not become NaN.
    const bool v_used = t + 1 < c.steps || c.grad_v_end;
    const bool w_used = SECOND_STATE && (t + 1 < c.steps || c.grad_w_end);
    const bool s_used = c.grad_out || (v_used && resets) || (K == ALIF && w_used);
    const IO* g_out = c.grad_out ? (const IO*)c.grad_out + t * c.grad_stride + first : nullptr;
    const IO* x = c.x ? (const IO*)c.x + t * c.x_stride + first : nullptr;
    IO* g_x = c.grad_x ? (IO*)c.grad_x + t * c.neurons + first : nullptr;

    each_vector(count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf gs = g_out ? get(g_out + i, left) : vf{};
      if (g_out) __builtin_prefetch(g_out - c.grad_stride + i);
      vf gv = get(gv_row + i), gh{}, gw{};
      if constexpr (SECOND_STATE) gw = get(gw_row + i);
      if constexpr (K == LI) {
        gh = gs + gv;
      } else {
        vf h, u, crossed, g_crossed{}, g_gap{};
        past.read(cell, t, i, left, h, u, crossed);
        // A spike of two levels is the sum of two steps: gs is the gradient of the first of these,
        // gs2 of the second; one reset subtracts what a level is worth, the other looks at the first.
        // Of a spike with a sign gs2 is the gradient of the step down.
        vf s = cell.fire(u), level = cell.level(h, u, s, i);
        if constexpr (K == TERNARY_SPIKE) {
          if (beta.row && g_out) beta.add(i, gs * level);
          gs = gs * at<EACH>(cell.beta, i);
        }
        vf gs2 = K == TERNARY_SPIKE ? -gs : gs;
        // Terms are added in the order in which autograd meets them.
        if constexpr (K == ALIF)
          if (w_used) gs = gs + gw * at<EACH>(cell.gain2, i);
        if (v_used) {
          if (c.reset == HARD) {
            gh = gv * (1.0f - (K == TERNARY_SPIKE ? 2.0f * s - level : s));
            if (K == TERNARY_SPIKE && resets) gs2 = gs2 - gv * h;
            if (K == TERNARY_LIF && resets) {  // the reset reaches the first step before the level does
              gs = (c.v_reset != 0.0f ? gv * c.v_reset - gv * h : -(gv * h)) + gs;
            } else {
              if (resets && c.v_reset != 0.0f) gs = gs + gv * c.v_reset;
              if (resets) gs = gs - gv * h;
            }
          } else {
            gh = gv;
            const vf worth = K == TERNARY_LIF ? at<EACH>(cell.beta, i) : crossed;
            if (c.reset == SOFT) (K == TERNARY_LIF ? g_gap : g_crossed) = -(gv * level);
            if (resets) gs = gs - gv * worth;
            if (resets) gs2 = K == TERNARY_SPIKE ? -gs : gs2 - gv * worth;
          }
        }
        if (s_used) {
          vf gu = gs * slope(c, u);
          if constexpr (K == TERNARY_LIF) {
            vf gu2 = gs2 * slope(c, u - at<EACH>(cell.beta, i));
            g_gap = g_gap - gu2;
            gu = gu2 + gu;
          }
          gh = gh + gu;
          g_crossed = g_crossed - gu;
          if constexpr (K == TERNARY_SPIKE) {
            vf gu2 = gs2 * slope(c, -h - crossed);
            gh = gh - gu2;
            g_crossed = g_crossed - gu2;
          }
        }
        if constexpr (K == TERNARY_LIF)
          if (beta.row) beta.add(i, g_gap);
        if (gh_row) gh = gh + get(gh_row + i);
        if (threshold.row) threshold.add(i, g_crossed);
        if constexpr (K == ALIF) {
          vf w = past.second(t, i, left);
          if (beta.row) beta.add(i, g_crossed * w);
          if (keep2.row) keep2.add(i, c.second.decay_input ? gw * w - gw * s : gw * w);
          put(gw_row + i, g_crossed * at<EACH>(cell.beta, i) + gw * at<EACH>(cell.keep2, i));
        }
      }
      if (keep.row) {
        vf v = past.before(c, cell, t, first, i, left);
        vf g = gh * (cell.rest == 0.0f ? v : v - cell.rest);
        if (c.leak.decay_input) {
          if constexpr (K == CUBA_LIF) g = g - gh * past.second(t, i, left);
          else g = g - gh * get(x + i, left);
        }
        keep.add(i, g);
      }
      vf gx = at<EACH>(cell.gain, i) * gh;
      put(gv_row + i, at<EACH>(cell.keep, i) * gh);
      if constexpr (K == CUBA_LIF) {
        vf gi = w_used ? gx + gw : gx;
        if (keep2.row) {
          vf w = t > 0 ? past.second(t - 1, i, left)
                 : c.w ? get((const IO*)c.w + first + i, left) : vf{};
          keep2.add(i, c.second.decay_input ? gi * w - gi * get(x + i, left) : gi * w);
        }
        put(gw_row + i, at<EACH>(cell.keep2, i) * gi);
        gx = at<EACH>(cell.gain2, i) * gi;
      }
      if (g_x) put(g_x + i, gx, left, x_streams);
    });
  }
  store_state<IO>(c.grad_v, gv_row, first, count);
  if constexpr (SECOND_STATE) store_state<IO>(c.grad_w, gw_row, first, count);
  keep.finish(c.leak.keep, first, count, sums + KEEP);
  keep2.finish(c.second.keep, first, count, sums + SECOND);
  threshold.finish(c.threshold, first, count, sums + THRESHOLD);
  beta.finish(c.beta, first, count, sums + BETA);
  settle();
}

inline bool any_per_neuron(const Call& c) {
  return per_neuron(c.leak.keep) || per_neuron(c.second.keep) || per_neuron(c.threshold) ||
         per_neuron(c.beta);
}

template <class IO, int K>
void forward_as(const Call& c, int64_t first, int64_t count, float* scratch) {
  if (any_per_neuron(c)) forward_block<IO, K, true>(c, first, count, scratch);
  else forward_block<IO, K, false>(c, first, count, scratch);
}
template <class IO>
void forward_kind(const Call& c, int64_t first, int64_t count, float* scratch) {
  if (c.p_end) {
    if (any_per_neuron(c)) return rate_block<IO, true>(c, first, count, scratch);
    return rate_block<IO, false>(c, first, count, scratch);
  }
  switch (c.kind) {
    case LIF: return forward_as<IO, LIF>(c, first, count, scratch);
    case CUBA_LIF: return forward_as<IO, CUBA_LIF>(c, first, count, scratch);
    case ALIF: return forward_as<IO, ALIF>(c, first, count, scratch);
    case TERNARY_LIF: return forward_as<IO, TERNARY_LIF>(c, first, count, scratch);
    case TERNARY_SPIKE: return forward_as<IO, TERNARY_SPIKE>(c, first, count, scratch);
    default: return forward_as<IO, LI>(c, first, count, scratch);
  }
}
void forward(const Call& c, int64_t first, int64_t count, float* scratch, double*) {
  if (c.dtype == BFLOAT16) forward_kind<bf16>(c, first, count, scratch);
  else forward_kind<float>(c, first, count, scratch);
}

template <class IO, int K>
void backward_as(const Call& c, int64_t first, int64_t count, float* scratch, double* sums) {
  if (any_per_neuron(c)) backward_block<IO, K, true>(c, first, count, scratch, sums);
  else backward_block<IO, K, false>(c, first, count, scratch, sums);
}
template <class IO>
void backward_kind(const Call& c, int64_t first, int64_t count, float* scratch, double* sums) {
  switch (c.kind) {
    case LIF: return backward_as<IO, LIF>(c, first, count, scratch, sums);
    case CUBA_LIF: return backward_as<IO, CUBA_LIF>(c, first, count, scratch, sums);
    case ALIF: return backward_as<IO, ALIF>(c, first, count, scratch, sums);
    case TERNARY_LIF: return backward_as<IO, TERNARY_LIF>(c, first, count, scratch, sums);
    case TERNARY_SPIKE: return backward_as<IO, TERNARY_SPIKE>(c, first, count, scratch, sums);
    default: return backward_as<IO, LI>(c, first, count, scratch, sums);
  }
}
void backward(const Call& c, int64_t first, int64_t count, float* scratch, double* sums) {
  if (c.dtype == BFLOAT16) backward_kind<bf16>(c, first, count, scratch, sums);
  else backward_kind<float>(c, first, count, scratch, sums);
}

}  // namespace

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOINED(a, b) a##b
#define VARIANT(name) JOINED(variant_, name)
extern const Variant VARIANT(ISA);
const Variant VARIANT(ISA) = {TEXT(ISA), forward, backward};
