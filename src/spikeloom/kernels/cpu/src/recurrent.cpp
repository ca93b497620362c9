// LIF neurons that hear their own last spikes: a few samples through all steps, forward and back.
// Compiled once per instruction set.
#include "cell.hpp"
#include "curves.hpp"
#include "panels.hpp"

namespace {

// Some samples: they lie side by side in a step, so that the neuron sees one row of numbers.
struct Stretch {
  int64_t samples, first, count, step;  // the latter three in neurons
  Stretch(const Recurrent& r, int64_t sample, int64_t some)
      : samples(some), first(sample * r.width), count(some * r.width), step(r.neuron.neurons) {}
};

inline bool same_for_all(const Call& c) {
  return !per_neuron(c.leak.keep) && !per_neuron(c.threshold);
}

// The drive of a step's neurons by the spikes of the step before.
struct Feedback {
  const Recurrent& r;
  const Stretch& s;
  const float* panels;
  const bool dense;
  float *spikes, *drive;
  uint64_t* bits;

  Feedback(const Recurrent& call, const Stretch& stretch, const float* weights, bool multiplies,
           Rows& rows)
      : r(call), s(stretch), panels(weights), dense(multiplies) {
    spikes = rows.take();
    drive = rows.take();
    const int64_t floats = 2 * s.samples * words_of(r.width);
    bits = (uint64_t*)rows.take((floats + rows.length - 1) / rows.length);
  }
  // Before the first step: whatever was given, which need not be spikes.
  void start() const {
    if (r.spike) return multiply(r.spike + s.first, s.samples, r.width, panels, drive);
    for (int64_t i = 0; i < s.count; ++i) drive[i] = 0.0f;
  }
  void hear() const {
    const int64_t words = words_of(r.width);
    int64_t ones = 0;
    for (int64_t n = 0; n < s.samples; ++n)
      ones += pack_row(spikes + n * r.width, r.width, bits + n * words);
    // Both add the same numbers in the same order.
    if (dense || 5 * ones > 2 * s.count) multiply(spikes, s.samples, r.width, panels, drive);
    else add_up(bits, s.samples, r.width, panels, drive);
  }
};

// Goes through all steps and shows each vector: seen(t, i, left, drive, h, spike).
template <bool EACH, class F>
INLINE void walk(const Recurrent& r, const Stretch& s, const Cell<LIF, EACH>& cell,
                 const Feedback& feedback, float* v_row, F&& seen) {
  const Call& c = r.neuron;
  load_state<float>(c.v, cell.rest, s.first, s.count, v_row);
  feedback.start();
  for (int64_t t = 0; t < c.steps; ++t) {
    const float* x = (const float*)c.x + t * c.x_stride + s.first;
    each_vector(s.count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf v = get(v_row + i), w{}, h, u;
      const vf drive = get(x + i, left) + get(feedback.drive + i);
      const vf spike = cell.step(drive, v, w, h, u, i);
      put(v_row + i, v);
      put(feedback.spikes + i, spike);
      seen(t, i, left, drive, h, spike);
    });
    if (t + 1 < c.steps) feedback.hear();
  }
}

template <bool EACH>
void forward_as(const Recurrent& r, const float* panels, bool dense, int64_t sample, int64_t some,
                float* scratch) {
  const Call& c = r.neuron;
  const Stretch s(r, sample, some);
  Rows rows{scratch, scratch_row(s.count)};
  const Cell<LIF, EACH> cell(c, s.first, s.count, rows);
  const Feedback feedback(r, s, panels, dense, rows);
  float* v_row = rows.take();
  walk(r, s, cell, feedback, v_row,
       [&](int64_t t, int64_t i, int64_t left, vf, vf h, vf spike) __attribute__((always_inline)) {
         const int64_t at = t * s.step + s.first + i;
         put((float*)c.out + at, spike, left);
         if (c.saved) put((float*)c.saved + at, h, left);
       });
  store_state<float>(c.v_end, v_row, s.first, s.count);
  store_state<float>(r.spike_end, feedback.spikes, s.first, s.count);
}

void forward(const Recurrent& r, const float* panels, bool dense, int64_t sample, int64_t some,
             float* scratch) {
  if (same_for_all(r.neuron)) forward_as<false>(r, panels, dense, sample, some, scratch);
  else forward_as<true>(r, panels, dense, sample, some, scratch);
}

// Potentials before the reset, kept or gone through again; then the drive is there too.
struct Past {
  const float *h, *drive = nullptr;
  int64_t stride;

  template <bool EACH>
  Past(const Recurrent& r, const Stretch& s, const Cell<LIF, EACH>& cell, const Feedback& feedback,
       float* v_row, Rows& rows) {
    const Call& c = r.neuron;
    if (c.saved) {
      h = (const float*)c.saved + s.first;
      stride = s.step;
      return;
    }
    stride = rows.length;
    float *hs = rows.take(c.steps), *drives = rows.take(c.leak.keep.grad ? c.steps : 0);
    const bool keeps_drive = c.leak.keep.grad;
    walk(r, s, cell, feedback, v_row,
         [&](int64_t t, int64_t i, int64_t, vf a, vf b, vf) __attribute__((always_inline)) {
           put(hs + t * stride + i, b);
           if (keeps_drive) put(drives + t * stride + i, a);
         });
    h = hs;
    drive = drives;
  }
};

// Sums over the steps of the gradients of one Value, a number a neuron.
struct Total {
  float* row = nullptr;
  Total(const Value& value, Rows& rows) {
    if (!value.grad) return;
    row = rows.take();
    for (int64_t i = 0; i < rows.length; ++i) row[i] = 0;
  }
  INLINE void add(int64_t i, vf a) const {
    if (row) put(row + i, get(row + i) + a);
  }
  void finish(const Value& value, const Stretch& s, double* sum) const {
    if (!row) return;
    double total = 0;
    for (int64_t i = 0; i < s.count; ++i) {
      if (per_neuron(value)) value.grad[s.first + i] = row[i];
      total += row[i];
    }
    *sum = total;
  }
};

// What one step back needs besides the rows: which gradients there are at all. Autograd adds
// nothing where no path leads: 0 times an infinite potential must not become NaN.
struct Step {
  const float *out, *heard, *before;  // gradients of the spikes, by the loss and by feedback
  bool v_used, s_used, resets;
};

template <bool EACH>
struct Backward {
  const Recurrent& r;
  const Call& c;
  const Stretch s;
  Rows rows;
  const Cell<LIF, EACH> cell;
  const Feedback feedback;
  const Total keep, threshold;
  float *v_row, *gv_row, *heard;
  const Past past;

  Backward(const Recurrent& call, const float* forward_panels, bool dense, int64_t sample,
           int64_t some, float* scratch)
      : r(call), c(call.neuron), s(call, sample, some), rows{scratch, scratch_row(s.count)},
        cell(c, s.first, s.count, rows), feedback(call, s, forward_panels, dense, rows),
        keep(c.leak.keep, rows), threshold(c.threshold, rows), v_row(rows.take()),
        gv_row(rows.take()), heard(rows.take()), past(call, s, cell, feedback, v_row, rows) {}

  // The potential that step t started from.
  INLINE vf before(int64_t t, int64_t i, int64_t left) const {
    if (t == 0) return c.v ? get((const float*)c.v + s.first + i, left) : all(cell.rest);
    const vf h = get(past.h + (t - 1) * past.stride + i, left), crossed = cell.crossing(vf{}, i);
    return cell.after(h, cell.fire(h - crossed), crossed);
  }

  // Through reset and firing, in the order in which autograd adds: the gradient of h comes out.
  INLINE vf through_spike(const Step& step, vf gs, vf gv, vf h, vf spike, int64_t i) const {
    const vf crossed = cell.crossing(vf{}, i);
    vf gh{}, g_crossed{};
    if (step.v_used) {
      if (c.reset == HARD) {
        gh = gv * (1.0f - spike);
        if (step.resets && c.v_reset != 0.0f) gs = gs + gv * c.v_reset;
        if (step.resets) gs = gs - gv * h;
      } else {
        gh = gv;
        if (c.reset == SOFT) g_crossed = -(gv * spike);
        if (step.resets) gs = gs - gv * crossed;
      }
    }
    if (step.s_used) {
      const vf gu = gs * slope(c, h - crossed);
      gh = gh + gu;
      g_crossed = g_crossed - gu;
    }
    threshold.add(i, g_crossed);
    return gh;
  }

  INLINE void charge(int64_t t, int64_t i, int64_t left, vf gh) const {
    const vf v = before(t, i, left);
    vf g = gh * (cell.rest == 0.0f ? v : v - cell.rest);
    if (c.leak.decay_input) g = g - gh * get(past.drive + t * past.stride + i);
    keep.add(i, g);
  }

  void step_back(int64_t t, const Step& step, float* gx) const {
    each_vector(s.count, [&](int64_t i, int64_t left) __attribute__((always_inline)) {
      vf gs = step.out ? get(step.out + i, left) : vf{};
      if (step.heard) gs = gs + get(step.heard + i, left);
      const vf h = get(past.h + t * past.stride + i, left);
      const vf spike = cell.fire(h - cell.crossing(vf{}, i));
      const vf gh = through_spike(step, gs, get(gv_row + i), h, spike, i);
      if (keep.row) charge(t, i, left, gh);
      put(gv_row + i, at<EACH>(cell.keep, i) * gh);
      put(gx + i, at<EACH>(cell.gain, i) * gh, left);
      put(feedback.spikes + i, spike);
    });
  }

  void keep_bits(int64_t t) const {
    const int64_t words = words_of(r.width), sample = s.first / r.width;
    for (int64_t n = 0; n < s.samples; ++n)
      pack_row(feedback.spikes + n * r.width, r.width,
               r.bits + (t * r.rows + sample + n) * words);
  }

  void run(const float* panels, double* sums) const {
    load_state<float>(c.grad_v_end, 0.0f, s.first, s.count, gv_row);
    const bool resets = c.reset != NONE && !c.detach;
    for (int64_t t = c.steps - 1; t >= 0; --t) {
      const bool last = t + 1 == c.steps;
      const float* g_end = r.grad_spike_end ? r.grad_spike_end + s.first : nullptr;
      Step step{};
      step.out = c.grad_out ? (const float*)c.grad_out + t * c.grad_stride + s.first : nullptr;
      step.heard = last ? g_end : heard;
      step.v_used = !last || c.grad_v_end;
      step.resets = resets;
      step.s_used = step.out || step.heard || (step.v_used && resets);
      float* gx = (float*)c.grad_x + t * s.step + s.first;
      step_back(t, step, gx);
      if (r.bits && !last) keep_bits(t);
      if (t > 0) multiply(gx, s.samples, r.width, panels, heard);
      else if (r.grad_spike) multiply(gx, s.samples, r.width, panels, r.grad_spike + s.first);
    }
    store_state<float>(c.grad_v, gv_row, s.first, s.count);
    keep.finish(c.leak.keep, s, sums + KEEP);
    threshold.finish(c.threshold, s, sums + THRESHOLD);
  }
};

void backward(const Recurrent& r, const float* forward_panels, const float* panels, bool dense,
              int64_t sample, int64_t some, float* scratch, double* sums) {
  if (same_for_all(r.neuron))
    Backward<false>(r, forward_panels, dense, sample, some, scratch).run(panels, sums);
  else
    Backward<true>(r, forward_panels, dense, sample, some, scratch).run(panels, sums);
}

// Row j of a forward panel holds what neuron j's spike adds to the others; of a backward panel, what
// the drive of neuron j hears of them.
bool panel(const Recurrent& r, bool transposed, int64_t index, float* to) {
  const int64_t first = index * PANEL, row = transposed ? 1 : r.width;
  const int64_t column = transposed ? r.width : 1;
  return panel_from(r.weight + first * column, row, column, r.width, r.width - first, to, PANEL);
}

}  // namespace

#define JOINED(a, b) a##b
#define NAMED(a, b) JOINED(a, b)
extern const Recurrence NAMED(recurrence_, ISA);
const Recurrence NAMED(recurrence_, ISA) = {panel, forward, backward};
