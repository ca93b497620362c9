// What LIF neurons note of their rate, step by step, in the operations of functional/neurons/rate.py.
#pragma once
#include "cell.hpp"
#include "curves.hpp"

namespace {

template <bool EACH>
struct Rates {
  const Call& c;
  const Cell<LIF, EACH>& cell;
  float *p_row, *spikes_row, *gains_row;

  Rates(const Call& call, const Cell<LIF, EACH>& of, int64_t first, int64_t count, Rows& rows)
      : c(call), cell(of), p_row(rows.take()), spikes_row(rows.take()), gains_row(rows.take()) {
    load_state<float>(c.p, 0.0f, first, count, p_row);
    load_state<float>(c.spike_sum, 0.0f, first, count, spikes_row);
    load_state<float>(c.gain_sum, 0.0f, first, count, gains_row);
  }

  // dv/dh, the spike's slope being `grad`.
  INLINE vf through_reset(vf h, vf s, vf grad, int64_t i) const {
    if (c.reset == HARD) {
      vf stays = 1.0f - s;
      return c.detach ? stays : stays - (h - c.v_reset) * grad;
    }
    if (c.reset == SOFT && !c.detach) return 1.0f - at<EACH>(cell.threshold, i) * grad;
    return all(1.0f);
  }
  // One step, in which potentials h = u + threshold led to the spikes s.
  INLINE void note(vf h, vf u, vf s, int64_t i) const {
    vf grad = slope(c, u);
    vf rho = at<EACH>(cell.gain, i) + at<EACH>(cell.keep, i) * get(p_row + i);
    put(p_row + i, rho * through_reset(h, s, grad, i));
    put(spikes_row + i, get(spikes_row + i) + s);
    put(gains_row + i, get(gains_row + i) + grad * rho);
  }
  void finish(int64_t first, int64_t count) const {
    store_state<float>(c.p_end, p_row, first, count);
    store_state<float>(c.spike_sum_end, spikes_row, first, count);
    store_state<float>(c.gain_sum_end, gains_row, first, count);
  }
};

}  // namespace
