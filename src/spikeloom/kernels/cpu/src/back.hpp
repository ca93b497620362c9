// One step of a LIF backwards, in the terms and the order of autograd.
#pragma once
#include "cell.hpp"
#include "curves.hpp"

namespace {

// Which gradients reach a step: autograd adds nothing where no path leads, since 0 times an
// infinite potential must not become NaN.
struct Reach {
  bool v, s;
  Reach(const Call& c, int64_t t) {
    v = t + 1 < c.steps || c.grad_v_end;
    s = c.grad_out || (v && c.reset != NONE && !c.detach);
  }
};

// From the gradients of the spike and of the potential after the reset to that of the potential
// before it; `g_crossed` becomes that of the threshold.
template <bool EACH>
INLINE vf before_reset(const Cell<LIF, EACH>& cell, Reach reach, vf h, vf gs, vf gv, vf& g_crossed,
                       int64_t i) {
  const Call& c = cell.c;
  const vf crossed = at<EACH>(cell.threshold, i), u = h - crossed, s = cell.fire(u);
  const bool resets = c.reset != NONE && !c.detach;
  vf gh{};
  g_crossed = vf{};
  if (reach.v) {
    gh = c.reset == HARD ? gv * (1.0f - s) : gv;
    if (c.reset == SOFT) g_crossed = -(gv * s);
    if (resets && c.reset == HARD && c.v_reset != 0.0f) gs = gs + gv * c.v_reset;
    if (resets) gs = gs - gv * (c.reset == HARD ? h : crossed);
  }
  if (reach.s) {
    vf gu = gs * slope(c, u);
    gh = gh + gu;
    g_crossed = g_crossed - gu;
  }
  return gh;
}

}  // namespace
