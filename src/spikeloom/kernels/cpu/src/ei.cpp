// A recurrent network of excitatory and inhibitory neurons, awake and asleep: sparse in spikes, in
// the order of functional/ei_network.py.
#include "ei.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>
#include <vector>

#include "chosen.hpp"
#include "hash.hpp"
#include "threads.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

extern const EIVariant ei_baseline;
#ifdef SPIKELOOM_X86
extern const EIVariant ei_avx2, ei_avx512;
#endif

namespace {

constexpr int64_t PAD = 16;

const EIVariant& variant() {
#ifdef SPIKELOOM_X86
  static const EIVariant* const table[] = {&ei_avx512, &ei_avx2, &ei_baseline};
  return chosen_of(table, 3);
#else
  return ei_baseline;
#endif
}

int64_t padded(int64_t count) { return (count + PAD - 1) / PAD * PAD; }

// Synapses in the order of their sources; those of inhibitory sources start at a multiple of PAD.
struct Wiring {
  std::vector<int64_t> first;      // [sources + 1] synapses of a source
  std::vector<int64_t> end;        // [sources]
  std::vector<int32_t> target;     // [synapses]
  std::vector<float> size;         // [synapses] magnitudes
  std::vector<int64_t> in_first;   // [neurons + 1]
  std::vector<int32_t> in_source;  // [synapses there are], by target
  std::vector<int64_t> in_synapse;
  int64_t excitatory;              // synapses, with padding

  explicit Wiring(const EICall& c) {
    const int64_t O = c.neurons, S = c.inputs + O;
    excitatory = 0;
    in_first.assign(O + 1, 0);
    first.resize(S);
    end.resize(S);
    for (int64_t j = 0; j < S; ++j) {
      if (j == c.inputs + c.excitatory) excitatory = pad();
      first[j] = int64_t(size.size());
      for (int64_t i = 0; i < O; ++i) {
        const float w = c.weight[i * S + j];
        if (w == 0) continue;
        target.push_back(int32_t(i));
        size.push_back(std::fabs(w));
        ++in_first[i + 1];
      }
      end[j] = int64_t(size.size());
    }
    if (c.excitatory == O) excitatory = pad();
    pad();
    for (int64_t i = 0; i < O; ++i) in_first[i + 1] += in_first[i];
    in_source.resize(in_first[O]);
    in_synapse.resize(in_first[O]);
    std::vector<int64_t> at(in_first.begin(), in_first.end() - 1);
    for (int64_t j = 0; j < S; ++j)
      for (int64_t k = first[j]; k < end[j]; ++k) {
        const int64_t place = at[target[k]]++;
        in_source[place] = int32_t(j);
        in_synapse[place] = k;
      }
  }

  int64_t pad() {
    target.resize(padded(int64_t(size.size())), 0);
    size.resize(target.size(), 0.0f);
    return int64_t(size.size());
  }

  // Values of a dense [neurons, sources] table in the order of the synapses; `none` between them.
  std::vector<double> gathered(const EICall& c, const double* dense, double none) const {
    std::vector<double> out(size.size(), none);
    const int64_t S = c.inputs + c.neurons;
    for (int64_t j = 0; j < S; ++j)
      for (int64_t k = first[j]; k < end[j]; ++k) out[k] = dense[target[k] * S + j];
    return out;
  }

  void write(const EICall& c) const {
    const int64_t S = c.inputs + c.neurons, inhibiting = c.inputs + c.excitatory;
    for (int64_t j = 0; j < S; ++j)
      for (int64_t k = first[j]; k < end[j]; ++k)
        c.weight[target[k] * S + j] = j < inhibiting ? size[k] : -size[k];
  }
};

double log64(double x) {
  int exponent;
  double m = std::frexp(x, &exponent), n = exponent;
  if (m < 0.7071067811865476) m = m + m, n = n - 1;
  const double s = (m - 1) / (m + 1), square = s * s;
  double p = 2.0 / 23;
  for (int term = 21; term > 0; term -= 2) p = p * square + 2.0 / term;
  return (p * s + n * 1.9082149292705877e-10) + n * 0.6931471803691238;
}

struct Network {
  const EICall& c;
  Wiring& wiring;
  const EIVariant& lanes;
  int64_t P, O, S, now = 0;
  std::vector<float> rows, noise, by_target, by_source;
  std::vector<int64_t> last;     // step of the last spike
  std::vector<uint8_t> is_fired, spikes;
  std::vector<int32_t> fired;    // sources, increasing
  std::vector<double> reference, shift, log;  // asleep
  EIRows r;

  Network(const EICall& call, Wiring& w)
      : c(call), wiring(w), lanes(variant()), P(c.inputs), O(c.neurons), S(P + O),
        rows(4 * padded(O), 0.0f), noise(padded(O), 0.0f), by_target(O), by_source(S), last(S, 0),
        is_fired(S, 0), spikes(padded(O), 0) {
    float* at = rows.data();
    const int64_t row = padded(O);
    r = {row, at, at + row, at + 2 * row, at + 3 * row, nullptr, spikes.data()};
    std::fill(r.v, r.v + row, c.v_rest);
  }

  void read() {
    std::memcpy(r.v, c.v, O * sizeof(float));
    std::memcpy(r.i_syn, c.i_syn, O * sizeof(float));
    std::memcpy(r.adaptation, c.adaptation, O * sizeof(float));
    for (int64_t j = 0; j < S; ++j) {
      last[j] = -c.age[j];
      is_fired[j] = c.fired[j];
      if (is_fired[j]) fired.push_back(int32_t(j));
    }
  }

  void write() const {
    std::memcpy(c.v, r.v, O * sizeof(float));
    std::memcpy(c.i_syn, r.i_syn, O * sizeof(float));
    std::memcpy(c.adaptation, r.adaptation, O * sizeof(float));
    for (int64_t j = 0; j < S; ++j) c.age[j] = now - last[j];
    std::memcpy(c.fired, is_fired.data(), S);
  }

  float change(const float* table, int64_t source) const {
    return table[std::min(now - last[source], c.ages - 1)];
  }

  void update(int64_t synapse, float change) {
    float& size = wiring.size[synapse];
    float next = size + change;
    next = next < c.floor ? c.floor : next > c.ceiling ? c.ceiling : next;
    if (next != size && !log.empty()) log[synapse] = log64(double(next) / reference[synapse]);
    size = next;
  }

  void deliver() {
    std::fill(r.drive, r.drive + r.padded, 0.0f);
    for (int32_t j : fired) {
      const float sign = j < P + c.excitatory ? 1.0f : -1.0f;
      for (int64_t k = wiring.first[j]; k < wiring.end[j]; ++k)
        r.drive[wiring.target[k]] += sign * wiring.size[k];
    }
  }

  void learn() {
    if (fired.empty()) return;
    for (int64_t i = 0; i < O; ++i) by_target[i] = change(c.at_pre, P + i);
    for (int64_t j = 0; j < S; ++j) by_source[j] = change(c.at_post, j);
    for (int32_t j : fired)
      for (int64_t k = wiring.first[j]; k < wiring.end[j]; ++k) update(k, by_target[wiring.target[k]]);
    for (int32_t i : fired) {
      if (i < P) continue;
      for (int64_t q = wiring.in_first[i - P]; q < wiring.in_first[i - P + 1]; ++q)
        if (!is_fired[wiring.in_source[q]])
          update(wiring.in_synapse[q], by_source[wiring.in_source[q]]);
    }
  }

  // One step with these inputs fired; counts what neurons fire.
  void step(const int32_t* inputs, int64_t count, int64_t* counts) {
    deliver();
    if (c.learns) learn();
    lanes.neurons(c, r);
    for (int32_t j : fired) is_fired[j] = 0;
    fired.assign(inputs, inputs + count);
    for (int64_t i = 0; i < O; ++i)
      if (spikes[i]) {
        fired.push_back(int32_t(P + i));
        ++counts[i];
      }
    ++now;
    for (int32_t j : fired) last[j] = now, is_fired[j] = 1;
  }

  void wake(int64_t from, int64_t to) {
    std::vector<int32_t> lit, inputs;
    std::vector<int64_t> uncounted(O);
    for (int64_t at = from; at < to; ++at) {
      const int64_t n = at / c.steps, t = at % c.steps;
      const float* p = c.p + t * c.p_step + n * P;
      if (at == from || t == 0 || c.p_step) {
        lit.clear();
        for (int64_t i = 0; i < P; ++i)
          if (p[i] > 0) lit.push_back(int32_t(i));
      }
      const uint64_t key = mixed(mixed(mixed(c.seed) ^ uint64_t(n)) ^ uint64_t(t));
      inputs.clear();
      for (int32_t i : lit)
        if (uniform(mixed(key ^ uint64_t(i))) < p[i]) inputs.push_back(i);
      int64_t* counts = t < c.skip ? uncounted.data() : c.counts + n * O;
      step(inputs.data(), int64_t(inputs.size()), counts);
    }
  }

  static bool near(double sum, double start, double tolerance) {
    return tolerance >= 0 && std::fabs(sum - start) <= tolerance * start;
  }

  int64_t sleep() {
    reference = wiring.gathered(c, c.reference, 0.0);
    shift = wiring.gathered(c, c.shift, 0.0);
    log = wiring.gathered(c, c.log, 0.0);
    const int64_t split = wiring.excitatory, rest = int64_t(log.size()) - split;
    double excited = 0, inhibited = 0;
    for (int64_t k = 0; k < int64_t(log.size()); ++k)
      (k < split ? excited : inhibited) += std::nearbyint(double(wiring.size[k]) * 0x1p32);
    for (int64_t at = 0; at < c.stop; ++at) {
      if (near(excited * 0x1p-32, c.excited, c.tolerance) &&
          near(inhibited * 0x1p-32, c.inhibited, c.tolerance))
        return at;
      const uint64_t key = mixed(mixed(mixed(c.seed) ^ uint64_t(c.number)) ^ uint64_t(at));
      for (int64_t i = 0; i < O; ++i) noise[i] = normal(mixed(key ^ uint64_t(i))) * c.noise;
      r.noise = noise.data();
      step(nullptr, 0, c.counts);
      excited = lanes.drift(split, c.decay, reference.data(), shift.data(), log.data(),
                            wiring.size.data());
      inhibited = lanes.drift(rest, c.decay, reference.data() + split, shift.data() + split,
                              log.data() + split, wiring.size.data() + split);
    }
    return c.stop;
  }
};

struct Job {
  const EICall& call;
  Wiring& wiring;
  std::atomic<bool> failed{false};
};

void one_sample(void* data, int64_t n) {
  Job& job = *static_cast<Job*>(data);
  try {
    Network(job.call, job.wiring).wake(n * job.call.steps, (n + 1) * job.call.steps);
  } catch (const std::bad_alloc&) {
    job.failed = true;
  }
}

}  // namespace

EXPORT int spikeloom_ei_wake(const EICall* c) try {
  Wiring wiring(*c);
  Network network(*c, wiring);
  network.read();
  network.wake(c->start, c->stop);
  network.write();
  wiring.write(*c);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

// Steps of the sleep go back in `stop`.
EXPORT int spikeloom_ei_sleep(EICall* c) try {
  Wiring wiring(*c);
  Network network(*c, wiring);
  network.read();
  c->stop = network.sleep();
  network.write();
  wiring.write(*c);
  return 0;
} catch (const std::bad_alloc&) {
  return 1;
}

// Each sample from rest, with weights that rest too.
EXPORT int spikeloom_ei_rates(const EICall* c) try {
  Wiring wiring(*c);
  Job job{*c, wiring};
  share(std::max(1, c->threads), c->samples, one_sample, &job);
  return job.failed;
} catch (const std::bad_alloc&) {
  return 1;
}

EXPORT int64_t spikeloom_ei_size() { return sizeof(EICall); }
